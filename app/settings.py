"""Every setting, documented once. Nothing else reads the environment."""

import base64
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.crypto import MasterKeys
from app.secrets_check import refuse_weak_key, refuse_weak_login, refuse_weak_password

_AUDIT_KEY_BYTES: Final = 32
_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](:[0-9]{1,5})?")


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


class Settings(BaseSettings):
    """Each field is the environment variable `TIDEMARK_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="TIDEMARK_", frozen=True, hide_input_in_errors=True)

    database_url: SecretStr | None = Field(
        default=None,
        description="Postgres 15 to 18 for the running service, `postgresql://login:password@host:port/name`. "
        "Unset: a private Postgres is started under the data directory.",
    )
    owner_database_url: SecretStr | None = Field(
        default=None,
        description="The same database as its owner, for migrations. Unset: `TIDEMARK_DATABASE_URL` serves both.",
    )
    database_pooler: Literal["none", "transaction"] = Field(
        default="none",
        description="`transaction` behind a pooler such as PgBouncer, in transaction and in session mode.",
    )
    data_dir: Path = Field(default=Path(".tidemark"), description="Where the private Postgres keeps its data.")
    pg_bin: Path | None = Field(
        default=None, description="Folder of the Postgres programs to use for the private Postgres."
    )
    pg_run_as: str | None = Field(
        default=None, description="Account the private Postgres runs as when Tidemark is started by root."
    )
    pool_size: int = Field(default=8, ge=1, le=200, description="Database connections for check-ins and trajectories.")
    orm_pool_size: int = Field(default=4, ge=1, le=200, description="Database connections for everything else.")
    pool_wait_seconds: float = Field(
        default=1.0, gt=0, description="How long a request waits for a connection before it is answered 503."
    )
    statement_timeout_ms: int = Field(default=5_000, ge=100, description="Longest a statement may run.")
    lock_timeout_ms: int = Field(default=2_000, ge=100, description="Longest a statement may wait for a lock.")
    max_body_bytes: int = Field(default=65_536, ge=1_024, description="Largest request body.")
    max_batch_body_bytes: int = Field(
        default=1_048_576, ge=1_024, description="Largest request body of a batch of check-ins."
    )
    rate_per_token: int = Field(
        default=6_000, ge=0, le=10_000_000, description="Requests a minute that one token may send; 0: no limit."
    )
    rate_per_address: int = Field(
        default=6_000, ge=0, le=10_000_000, description="Requests a minute that one address may send; 0: no limit."
    )
    failed_logins_per_address: int = Field(
        default=10, ge=0, le=1_000, description="Wrong tokens a minute that one address may send; 0: no limit."
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses and networks of the reverse proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are "
        "believed, `10.0.0.0/8,::1`, separated by commas. Unset: nobody's.",
    )
    cors_origins: str = Field(
        default="",
        description="Origins whose pages may call the API from a browser, `https://app.clinic.example`, separated by "
        "commas. Unset: none.",
    )
    hsts_seconds: int = Field(
        default=0,
        ge=0,
        le=63_072_000,
        description="How long browsers shall insist on TLS, sent as `Strict-Transport-Security`. 0: it is not sent.",
    )
    webhook_internal_hosts: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9.:\[\], -]*$",
        description="Hosts inside the network that webhooks may reach, `host` or `host:port`, separated by commas. "
        "Without a port: 443. All others have to be public.",
    )
    webhook_ca_file: Path | None = Field(
        default=None, description="Certificates (PEM) that webhooks trust beside those of the system."
    )
    keep_notifications_days: int = Field(
        default=90,
        ge=30,
        le=36_500,
        description="How long is kept what was told to webhooks, and how it arrived. What still waits stays, and so "
        "does the trail.",
    )
    public_url: str | None = Field(
        default=None,
        description="Where people reach the service, `https://checkin.clinic.example`: check-in links begin with it. "
        "Unset: they are paths without a host.",
    )
    oidc_issuer: str | None = Field(
        default=None,
        description="The `iss` of the identity provider whose tokens are taken, letter for letter. Unset: nobody's.",
    )
    oidc_audience: str | None = Field(
        default=None, description="The `aud` that its tokens for Tidemark have, and no others of its tokens."
    )
    oidc_keys_url: str | None = Field(
        default=None, description="Where it publishes its keys (`jwks_uri`); read by `tidemark worker` alone."
    )
    oidc_algorithms: str = Field(
        default="RS256", description="What it signs with, of RS256, PS256, ES256, EdDSA, separated by commas."
    )
    oidc_clinic_id: UUID | None = Field(default=None, description="The clinic of everybody it lets in.")
    oidc_clinic_claim: str | None = Field(
        default=None, description="Instead: the claim that holds the id of a person's clinic."
    )
    oidc_role_claim: str = Field(
        default="roles", description="The claim that holds a person's roles; dots lead inwards, `realm_access.roles`."
    )
    oidc_roles: str = Field(
        default="tidemark-admin=admin,tidemark-clinician=clinician,tidemark-researcher=researcher",
        description="What its roles are here, `theirs=ours`, separated by commas; who has several gets the first.",
    )
    oidc_ca_file: Path | None = Field(
        default=None, description="Certificates (PEM) that are trusted for its keys beside those of the system."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least that is logged. At `debug` probes and libraries are told of, too."
    )
    log_format: Literal["json", "text"] | None = Field(
        default=None, description="One JSON object a line, or text. Unset: text at a terminal, else JSON."
    )

    metrics_token: SecretStr | None = Field(
        default=None,
        description="What `/metrics` asks for as its bearer token, `openssl rand -hex 32`. Unset: it is open to all.",
    )
    master_keys: SecretStr | None = Field(
        default=None,
        description="Base64 of 32 random bytes, as `tidemark keys new` makes it: what the keys of patients and clinics "
        "are wrapped with. Older ones behind it, separated by commas, still unwrap. Without it nothing sealed can be "
        "read: keep a copy away from the database. Unset with the private Postgres: made once, kept in the data "
        "directory.",
    )
    audit_key: SecretStr | None = Field(
        default=None,
        description="Private key (Ed25519), as `tidemark audit key` makes it: signs the heads that "
        "`tidemark audit head` prints. Unset: heads are not signed.",
    )

    erasure_ledger: Path | None = Field(
        default=None,
        description="File outside the database that the worker adds each erasure to, and that `tidemark serve` does "
        "again in a restored database before it answers. Unset: `erasures.ndjson` in the data directory of a private "
        "Postgres, none for another.",
    )

    def refuse_weak_secrets(self) -> None:
        """Raises InvalidError that names the variable, and never the value."""
        logins = {"TIDEMARK_DATABASE_URL": self.database_url, "TIDEMARK_OWNER_DATABASE_URL": self.owner_database_url}
        for name, url in logins.items():
            if url is not None:
                refuse_weak_login(name, url.get_secret_value())
        if self.metrics_token is not None:
            refuse_weak_password("TIDEMARK_METRICS_TOKEN", self.metrics_token.get_secret_value())
        if self.audit_key is not None:
            refuse_weak_key(
                "TIDEMARK_AUDIT_KEY", base64.b64decode(self.audit_key.get_secret_value()), "tidemark audit key"
            )
        if self.master_keys is not None:
            for key in _listed(self.master_keys.get_secret_value()):
                refuse_weak_key("TIDEMARK_MASTER_KEYS", base64.b64decode(key), "tidemark keys new")

    @field_validator("master_keys")
    @classmethod
    def _sound_master_keys(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None:
            MasterKeys.parse(keys.get_secret_value())
        return keys

    @field_validator("audit_key")
    @classmethod
    def _sound_audit_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            decoded = base64.b64decode(key.get_secret_value(), validate=True)
            if len(decoded) != _AUDIT_KEY_BYTES:
                raise ValueError("write the Base64 of 32 random bytes")
        return key

    @field_validator("metrics_token")
    @classmethod
    def _no_empty_token(cls, token: SecretStr | None) -> SecretStr | None:
        """Compose files hand on what is not set as nothing."""
        return token if token is not None and token.get_secret_value() else None

    @field_validator("trusted_proxies")
    @classmethod
    def _sound_proxies(cls, proxies: str) -> str:
        """A network that is none would be trusted by nobody, and be noticed by nobody."""
        return ",".join(str(ip_network(proxy)) for proxy in _listed(proxies))

    @field_validator("cors_origins")
    @classmethod
    def _sound_origins(cls, origins: str) -> str:
        """Exact ones: neither `*` nor `null`, which everybody could be."""
        if not all(_ORIGIN.fullmatch(origin) for origin in _listed(origins)):
            raise ValueError("write https://host or https://host:port, in small letters")
        return ",".join(_listed(origins))

    @field_validator("public_url")
    @classmethod
    def _sound_public_url(cls, url: str | None) -> str | None:
        """Without a slash at its end. Plain http would show the answers to everybody on the way."""
        if url is None:
            return None
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _THIS_MACHINE)
        if not is_safe or not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("write https://host[:port][/path]; http only for localhost")
        return url.rstrip("/")
