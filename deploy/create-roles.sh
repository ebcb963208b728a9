#!/bin/sh
# Run once by the Postgres image on an empty volume: the database, its owner, and the login of the service.
# The passwords are read inside psql, so they appear in no process list.
set -eu

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv owner_password TIDEMARK_OWNER_PASSWORD
\getenv app_password TIDEMARK_APP_PASSWORD

CREATE ROLE tidemark_owner LOGIN PASSWORD :'owner_password'
  NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION;
CREATE ROLE tidemark_runtime NOLOGIN
  NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION;
CREATE ROLE tidemark_app LOGIN PASSWORD :'app_password'
  NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION;
GRANT tidemark_runtime TO tidemark_app;

CREATE DATABASE tidemark OWNER tidemark_owner ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0;
REVOKE ALL ON DATABASE tidemark FROM PUBLIC;
GRANT CONNECT ON DATABASE tidemark TO tidemark_app;
SQL
