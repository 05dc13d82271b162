# chatledger with all its extras, for an account of its own and a root file system that nobody writes to.
#
#   docker build --tag chatledger .
#   docker run --publish 127.0.0.1:8000:8000 --volume chatledger:/var/lib/chatledger chatledger
#
# Other commands take the place of `serve`: `docker run ... chatledger worker`. docs/deployment.md has the rest.

FROM python:3.13-slim-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv /opt/chatledger
COPY requirements.lock .
# Exactly the files that were locked.
RUN /opt/chatledger/bin/pip install --require-hashes --requirement requirements.lock
COPY . .
RUN python -m pip wheel --no-deps --wheel-dir dist . \
    && /opt/chatledger/bin/pip install --no-deps dist/chatledger-*.whl \
    && /opt/chatledger/bin/pip check

FROM python:3.13-slim-trixie
# The number is said, so that volumes and security contexts can name it.
RUN groupadd --gid 10001 chatledger \
    && useradd --uid 10001 --gid 10001 --no-log-init --home-dir /var/lib/chatledger --shell /usr/sbin/nologin chatledger \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/chatledger /var/lib/chatledger/files
COPY --from=build /opt/chatledger /opt/chatledger
ENV PATH=/opt/chatledger/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    CHATLEDGER_DATA_DIR=/var/lib/chatledger \
    CHATLEDGER_HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/chatledger
VOLUME /var/lib/chatledger
EXPOSE 8000
# The same signal for `serve` and `worker`: what is under way is finished or handed over (docs/restarts.md).
STOPSIGNAL SIGTERM
# Whether the process answers, not whether its database does: a restart would mend nothing there.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-m", "chatledger.adapters.cli.healthy"]
ENTRYPOINT ["chatledger"]
CMD ["serve"]
