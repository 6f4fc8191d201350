#!/bin/bash
# First boot of the machine: Docker, the agent that measures the disk, and the units that keep Medilink running.
# The images come with the first ./deploy-ec2.sh. Nothing in here is a secret: whoever may describe the instance reads it.
set -euo pipefail

compose_version=v2.40.3

dnf install --assumeyes docker amazon-cloudwatch-agent jq
plugins=/usr/local/lib/docker/cli-plugins
install --directory "$plugins"
for file in docker-compose-linux-x86_64 docker-compose-linux-x86_64.sha256; do
    curl --fail --silent --show-error --location --proto =https --retry 5 --output "$plugins/$file" \
        "https://github.com/docker/compose/releases/download/$compose_version/$file"
done
(cd "$plugins" && sha256sum --check docker-compose-linux-x86_64.sha256 && mv docker-compose-linux-x86_64 docker-compose)
chmod 755 "$plugins/docker-compose"

install --directory --mode 0750 /opt/medilink
cat >/opt/medilink/settings.env <<'SETTINGS'
${settings}
LOG_GROUP=${log_group}
SETTINGS

# What the load balancer says of its callers is believed, and nobody else who calls from elsewhere.
cat >/opt/medilink/outside.conf <<'GATEWAY'
set_real_ip_from ${vpc_cidr};
real_ip_header X-Forwarded-For;
real_ip_recursive on;
map "" $outside_scheme {
    default https;
}
GATEWAY

# RDS's certificate authorities, for POSTGRES_SSLMODE=verify-full.
curl --fail --silent --show-error --proto =https --retry 5 --output /opt/medilink/rds-ca.pem \
    https://truststore.pki.rds.amazonaws.com/${region}/${region}-bundle.pem

# Secrets live in memory only, one file each, where compose mounts them from (docker-compose.aws.yaml).
cat >/opt/medilink/fetch-secrets.sh <<'SCRIPT'
#!/bin/bash
set -euo pipefail
umask 077
folder=/run/medilink/secrets
mkdir -p "$folder"
for name in ${secret_settings}; do
    # Only where the watchdog complains is nobody's to make up.
    if ! aws secretsmanager get-secret-value --region ${region} --secret-id "${secrets_prefix}/$name" \
        --query SecretString --output text >"$folder/$name" && [[ $name != WATCHDOG_WEBHOOK_URL ]]; then
        echo "${secrets_prefix}/$name has no value. Make it: ./deploy-ec2.sh" >&2
        exit 1
    fi
done
password=$(aws secretsmanager get-secret-value --region ${region} --secret-id "${master_secret_arn}" \
    --query SecretString --output text | jq --raw-output '.password | @uri')
. /opt/medilink/settings.env
printf 'postgresql://%s:%s@%s:%s/postgres?sslmode=verify-full&sslrootcert=/opt/medilink/rds-ca.pem\n' \
    "${master_username}" "$password" "$POSTGRES_HOST" "$POSTGRES_PORT" >"$folder/POSTGRES_ADMIN_URL"
# Airflow's user, and the API's, are not root.
chown --recursive 50000:0 "$folder"
SCRIPT

# deploy.sh TAG: fetch the images of a commit, take the compose files out of them, and start what changed.
cat >/opt/medilink/deploy.sh <<'SCRIPT'
#!/bin/bash
set -euo pipefail
tag=$${1:?"usage: deploy.sh TAG"}
cd /opt/medilink
. ./settings.env
aws ecr get-login-password --region ${region} | docker login --username AWS --password-stdin "${registry}"
docker pull --quiet "$AIRFLOW_IMAGE:$tag"
container=$(docker create "$AIRFLOW_IMAGE:$tag")
trap 'docker rm --force "$container" >/dev/null' EXIT
for part in docker-compose.yaml docker-compose.aws.yaml deployment monitoring; do
    docker cp --quiet "$container:/opt/airflow/$part" .
done
printf 'MEDILINK_TAG=%s\n' "$tag" >tag.env
systemctl enable medilink.service
systemctl restart medilink.service
SCRIPT
chmod 750 /opt/medilink/*.sh

cat >/etc/systemd/system/medilink.service <<'UNIT'
[Unit]
Description=Medilink: Airflow, API, dashboard
Requires=docker.service
After=docker.service network-online.target
Wants=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
WorkingDirectory=/opt/medilink
ExecStartPre=/opt/medilink/fetch-secrets.sh
ExecStart=/usr/bin/docker compose --env-file settings.env --env-file tag.env -f docker-compose.yaml -f docker-compose.aws.yaml up --detach --remove-orphans --wait --wait-timeout 600
ExecStop=/usr/bin/docker compose --env-file settings.env --env-file tag.env -f docker-compose.yaml -f docker-compose.aws.yaml stop
TimeoutStartSec=1200

[Install]
WantedBy=multi-user.target
UNIT

cat >/opt/aws/amazon-cloudwatch-agent/etc/amazon-cloudwatch-agent.json <<'AGENT'
{
  "agent": {"metrics_collection_interval": 60},
  "metrics": {
    "namespace": "CWAgent",
    "append_dimensions": {"InstanceId": "$${aws:InstanceId}"},
    "aggregation_dimensions": [["InstanceId", "path"]],
    "metrics_collected": {"disk": {"measurement": ["used_percent"], "resources": ["/"]}, "mem": {"measurement": ["used_percent"]}}
  }
}
AGENT
systemctl daemon-reload
systemctl enable --now docker amazon-cloudwatch-agent
