#!/usr/bin/env bash
# Bring this commit to the machine that Terraform made: build the images, push them, make the secrets that have no value
# yet, and let the machine start what changed.
# Needs docker with buildx, aws and terraform, and your own log-in (aws sso login); no SSH, no key.
set -euo pipefail

usage() {
    cat <<'USAGE'
Usage: ./deploy-ec2.sh [--rotate NAME]

  (nothing)       build, push, make missing secrets, deploy this commit; the terraform/ folder must be initialised
  --rotate NAME   give the secret NAME a new value and deploy, e.g. --rotate API_CLIENT_SECRET

Go back to an earlier commit with: git switch --detach COMMIT && ./deploy-ec2.sh
USAGE
}

repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
rotated=
case ${1:-} in
    "") ;;
    --rotate) rotated=${2:?"--rotate needs the name of a secret"} ;;
    *)
        usage
        [[ $1 == -h || $1 == --help ]] && exit
        exit 2
        ;;
esac

for program in aws docker git terraform; do
    command -v "$program" >/dev/null || {
        echo "$program is not on PATH: install it, and start again." >&2
        exit 1
    }
done
cd -- "$repository"
if [[ -n $(git status --porcelain) ]]; then
    echo "There are changes that are in no commit: the image would be none that can be made again. Commit them." >&2
    exit 1
fi
tag=$(git rev-parse --short=12 HEAD)
outputs=$(terraform -chdir=terraform output -json)

# output NAME [KEY]: an output of Terraform, or one entry of it.
output() {
    python3 -c '
import json, sys
value = json.load(sys.stdin)[sys.argv[1]]["value"]
print(value[sys.argv[2]] if len(sys.argv) > 2 else "\n".join(value) if isinstance(value, dict) else value)
' "$@" <<<"$outputs"
}

instance=$(output instance_id)
registry=$(output repository_urls airflow)
registry=${registry%%/*}
AWS_REGION=$(cut -d. -f4 <<<"$registry")
export AWS_REGION

# A value of the kind that the setting needs, as start.sh makes it (local/environment.py).
new_value() {
    case $1 in
        # A seed has 32 bytes.
        API_SIGNING_KEYS) python3 -c 'import secrets; print(secrets.token_urlsafe(32))' ;;
        AIRFLOW_FERNET_KEY) python3 -c 'import base64, secrets; print(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())' ;;
        *) python3 -c 'import secrets; print(secrets.token_urlsafe(48))' ;;
    esac
}

# The secrets that have a value, each on a line of its own.
valued=$(aws secretsmanager list-secrets --query 'SecretList[?SecretVersionsToStages].ARN' --output text | tr '\t' '\n')

# From a file that only we can read: an argument could be seen by others on this machine.
put_value() {
    local file
    file=$(mktemp)
    new_value "$1" | tr -d '\n' >"$file"
    aws secretsmanager put-secret-value --secret-id "$2" --secret-string "file://$file" --query Name --output text
    rm -f -- "$file"
}

for name in $(output secret_arns); do
    arn=$(output secret_arns "$name")
    if [[ $name == "$rotated" ]]; then
        case $name in
            RESEARCH_PSEUDONYM_KEY | AIRFLOW_FERNET_KEY | API_SIGNING_KEYS | WATCHDOG_WEBHOOK_URL)
                echo "$name is not rotated like this: docs/operations.md, \"Secrets\", says how and what it costs." >&2
                exit 1
                ;;
        esac
        put_value "$name" "$arn"
    elif [[ $name != WATCHDOG_WEBHOOK_URL ]] && ! grep --quiet --fixed-strings --line-regexp -- "$arn" <<<"$valued"; then
        put_value "$name" "$arn"
    fi
done

aws ecr get-login-password | docker login --username AWS --password-stdin "$registry"
for image in airflow backend; do
    url=$(output repository_urls "$image")
    # A tag is never moved: what is there was built from this very commit.
    if ! aws ecr describe-images --repository-name "${url#*/}" --image-ids "imageTag=$tag" >/dev/null 2>&1; then
        dockerfile=Dockerfile
        [[ $image == backend ]] && dockerfile=backend/Dockerfile
        docker buildx build --platform linux/amd64 --file "$dockerfile" --tag "$url:$tag" --push .
    fi
done

command=$(aws ssm send-command --instance-ids "$instance" --document-name AWS-RunShellScript \
    --comment "Medilink $tag" --parameters "commands=['/opt/medilink/deploy.sh $tag'],executionTimeout=['1800']" \
    --query Command.CommandId --output text)
echo "Deploying $tag to $instance (command $command) ..."
status=InProgress
while [[ $status == Pending || $status == InProgress || $status == Delayed ]]; do
    sleep 10
    status=$(aws ssm get-command-invocation --command-id "$command" --instance-id "$instance" \
        --query Status --output text)
done
if [[ $status != Success ]]; then
    aws ssm get-command-invocation --command-id "$command" --instance-id "$instance" \
        --query '[StandardOutputContent, StandardErrorContent]' --output text >&2
    echo "The deployment ended as $status. What ran before may still run: aws ssm start-session --target $instance" >&2
    exit 1
fi
echo "Deployed $tag: $(output api_url) and $(output airflow_url)"
