# Airflow with the pipeline and dbt: what uv.lock says, and nothing else. The official image of the same version gives
# the system, the user and the entrypoint; every Python package comes from the lock.
ARG BASE_IMAGE=apache/airflow:3.3.2-python3.12

FROM ${BASE_IMAGE} AS packages
# What installs is left behind; what runs is nobody (below).
# hadolint ignore=DL3002
USER 0
ENV UV_PROJECT_ENVIRONMENT=/opt/medilink/venv \
    UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy
WORKDIR /opt/medilink
# The version of local/fetch_uv.py.
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir uv==0.13.8
COPY pyproject.toml uv.lock ./
RUN /opt/uv/bin/uv sync --frozen --no-cache --compile-bytecode --no-install-project \
    --no-default-groups --group airflow --group dbt --group scale --group backup

FROM ${BASE_IMAGE}
USER 0
# Where compose mounts volumes: a new volume takes over who may write into it.
RUN install --directory --owner=50000 --group=0 --mode=0770 /opt/airflow/logs /var/lib/medilink /var/backups/medilink
COPY --from=packages /opt/medilink/venv /opt/medilink/venv
# A link for each program that needs the secrets: deployment/with-secrets.
COPY --chmod=755 deployment/with-secrets /opt/medilink/bin/airflow
COPY --chmod=755 deployment/with-secrets /opt/medilink/bin/celery
COPY --chmod=755 deployment/with-secrets /opt/medilink/bin/dbt
COPY --chmod=755 deployment/medilink /opt/medilink/bin/medilink
COPY airflow/dags /opt/airflow/airflow/dags
COPY elt /opt/airflow/elt
COPY local /opt/airflow/local
COPY deployment /opt/airflow/deployment
# What a machine on AWS takes out of the image (terraform/user_data.sh).
COPY monitoring /opt/airflow/monitoring
COPY docker-compose.yaml docker-compose.aws.yaml /opt/airflow/
# dbt writes its target/ there.
COPY --chown=50000:0 dbt /opt/airflow/dbt
ENV PATH=/opt/medilink/bin:/opt/medilink/venv/bin:${PATH} \
    PYTHONPATH=/opt/airflow \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DBT_PROFILES_DIR=/opt/airflow/dbt \
    MEDILINK_HOME=/var/lib/medilink
USER 50000
# Not the image's own entrypoint: that one asks for Airflow's database first, which `init` has yet to make.
ENTRYPOINT ["/usr/bin/dumb-init", "--"]
CMD ["airflow", "version"]
