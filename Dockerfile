# The image of every process of CIFT Markets; docker-compose.yml names the command of each.
FROM python:3.11.13-slim-bookworm AS build
RUN python -m venv /venv
WORKDIR /app
COPY requirements.txt requirements-dev.txt ./
# setuptools of the same lock installs the project itself, so that nothing comes without a hash
RUN sed -n '/^setuptools==/,/[^\\]$/p' requirements-dev.txt > /tmp/setuptools.txt \
    && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.txt \
    && /venv/bin/pip install --no-cache-dir --require-hashes --no-deps -r /tmp/setuptools.txt
COPY pyproject.toml requirements.in alembic.ini celeryconfig.py ./
COPY migrations migrations
COPY cift_core cift_core
COPY cift_tasks cift_tasks
COPY cift_web cift_web
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation --editable .

FROM python:3.11.13-slim-bookworm
RUN groupadd --gid 10001 cift \
    && useradd --uid 10001 --gid cift --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin cift \
    && install -d -o cift -g cift -m 0750 /var/lib/cift /var/lib/cift/uploads /var/lib/cift/beat /var/cache/cift
COPY --from=build /venv /venv
COPY --from=build /app /app
# Numba keeps its compiled kernels where the user may write
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 NUMBA_CACHE_DIR=/var/cache/cift
WORKDIR /app
USER 10001:10001
EXPOSE 8000
CMD ["cift", "--help"]
