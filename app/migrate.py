"""Bringing a database to the newest revision, as its owner."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from pydantic import SecretStr

import migrations


def _config(url: str | None = None, master_keys: SecretStr | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    if url is not None:
        config.attributes["url"] = url
    if master_keys is not None:
        config.attributes["master_keys"] = master_keys
    return config


def upgrade(owner_url: str, revision: str = "head", master_keys: SecretStr | None = None) -> None:
    """Blocking; runs its own event loop. Without keys those of the environment are taken."""
    command.upgrade(_config(owner_url, master_keys), revision)


def downgrade(owner_url: str, revision: str) -> None:
    command.downgrade(_config(owner_url), revision)


def check(owner_url: str) -> None:
    """Raises when tables and migrations have drifted apart."""
    command.check(_config(owner_url))


@cache
def head_revision() -> str | None:
    """The newest revision this program knows; read from the files once, for a probe asks every few seconds."""
    return ScriptDirectory.from_config(_config()).get_current_head()
