# From the bucket that hospitals drop files into to the address that people open.

provider "aws" {
  region              = var.aws_region
  allowed_account_ids = var.account_id == null ? null : [var.account_id]

  default_tags {
    tags = merge(var.tags, { Project = var.project_name, Environment = var.environment, ManagedBy = "terraform" })
  }
}

# Where the database's backups are copied to; idle unless backup_copy_region is set.
provider "aws" {
  alias               = "backup_copy"
  region              = coalesce(var.backup_copy_region, var.aws_region)
  allowed_account_ids = var.account_id == null ? null : [var.account_id]
}

data "aws_caller_identity" "this" {}

locals {
  name           = "${var.project_name}-${var.environment}"
  account_id     = data.aws_caller_identity.this.account_id
  zones          = length(var.availability_zones) == 2 ? var.availability_zones : ["${var.aws_region}a", "${var.aws_region}b"]
  bucket_name    = var.s3_bucket_name == "" ? "${local.name}-drops-${local.account_id}" : var.s3_bucket_name
  input_prefix   = "medical_records/input/"
  nhs_prefix     = "nhs_uploads/"
  archive_prefix = "medical_records/archive/"
  namespace      = "Medilink"

  # Every setting of Medilink that is a secret, except those that AWS itself keeps: the instance's role stands for
  # AWS_*, and RDS for the master user. tests/infrastructure compares them with elt/settings.py.
  secret_settings = toset([
    "AIRFLOW_ADMIN_PASSWORD",
    "AIRFLOW_DB_PASSWORD",
    "AIRFLOW_FERNET_KEY",
    "AIRFLOW_JWT_SECRET",
    "AIRFLOW_SECRET_KEY",
    "API_CLIENT_SECRET",
    "API_POSTGRES_PASSWORD",
    "API_SIGNING_KEYS",
    "POSTGRES_PASSWORD",
    "RESEARCH_PSEUDONYM_KEY",
    "WATCHDOG_WEBHOOK_URL",
  ])
}

module "encryption" {
  source     = "./modules/encryption"
  name       = local.name
  region     = var.aws_region
  account_id = local.account_id
}

module "network" {
  source      = "./modules/network"
  name        = local.name
  region      = var.aws_region
  cidr        = var.vpc_cidr
  zones       = local.zones
  kms_key_arn = module.encryption.key_arn
}

module "storage" {
  source         = "./modules/storage"
  name           = local.name
  account_id     = local.account_id
  bucket_name    = local.bucket_name
  bucket_exists  = var.s3_bucket_exists
  kms_key_arn    = module.encryption.key_arn
  input_prefix   = local.input_prefix
  nhs_prefix     = local.nhs_prefix
  archive_prefix = local.archive_prefix
  disposable     = !var.deletion_protection
}

module "database" {
  source                   = "./modules/database"
  name                     = local.name
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.private_subnet_ids
  client_security_group_id = module.compute.security_group_id
  kms_key_arn              = module.encryption.key_arn
  engine_version           = var.db_engine_version
  instance_class           = var.db_instance_class
  allocated_storage        = var.db_allocated_storage
  database                 = var.db_name
  master_username          = var.db_username
  multi_az                 = var.db_multi_az
  deletion_protection      = var.deletion_protection
}

module "backup_copy" {
  source              = "./modules/backup_copy"
  count               = var.backup_copy_region == null ? 0 : 1
  providers           = { aws = aws.backup_copy }
  name                = local.name
  account_id          = local.account_id
  source_instance_arn = module.database.arn
}

module "registry" {
  source      = "./modules/registry"
  name        = local.name
  kms_key_arn = module.encryption.key_arn
  disposable  = !var.deletion_protection
}

module "secrets" {
  source      = "./modules/secrets"
  name        = local.name
  settings    = local.secret_settings
  kms_key_arn = module.encryption.key_arn
  disposable  = !var.deletion_protection
}

resource "aws_cloudwatch_log_group" "containers" {
  name              = "/${local.name}/containers"
  retention_in_days = 365
  kms_key_id        = module.encryption.key_arn
}

resource "aws_sns_topic" "alarms" {
  name              = "${local.name}-alarms"
  kms_master_key_id = module.encryption.key_arn
}

resource "aws_sns_topic_subscription" "mail" {
  for_each  = toset(var.alarm_emails)
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

module "compute" {
  source                     = "./modules/compute"
  name                       = local.name
  vpc_id                     = module.network.vpc_id
  public_subnet_ids          = module.network.public_subnet_ids
  private_subnet_id          = module.network.private_subnet_ids[0]
  instance_type              = var.ec2_instance_type
  key_name                   = var.ec2_key_name
  kms_key_arn                = module.encryption.key_arn
  domain_name                = var.domain_name
  certificate_arn            = var.certificate_arn
  allowed_cidr_blocks        = var.allowed_cidr_blocks
  log_bucket                 = module.storage.log_bucket_name
  deletion_protection        = var.deletion_protection
  bucket_arn                 = module.storage.bucket_arn
  input_prefix               = local.input_prefix
  nhs_prefix                 = local.nhs_prefix
  archive_prefix             = local.archive_prefix
  queue_arn                  = module.storage.queue_arn
  repository_arns            = module.registry.arns
  secret_arns                = values(module.secrets.arns)
  master_secret_arn          = module.database.master_secret_arn
  log_group_arn              = aws_cloudwatch_log_group.containers.arn
  metrics_namespace          = local.namespace
  database_security_group_id = module.database.security_group_id

  user_data = templatefile("${path.module}/user_data.sh", {
    region            = var.aws_region
    registry          = split("/", module.registry.urls["airflow"])[0]
    secrets_prefix    = local.name
    secret_settings   = join(" ", sort(local.secret_settings))
    master_secret_arn = module.database.master_secret_arn
    master_username   = var.db_username
    vpc_cidr          = var.vpc_cidr
    log_group         = aws_cloudwatch_log_group.containers.name
    settings          = join("\n", [for name, value in local.settings : "${name}=${value}"])
  })
}

locals {
  # The settings that are no secrets, for the containers.
  settings = {
    POSTGRES_HOST       = module.database.address
    POSTGRES_PORT       = "5432"
    POSTGRES_DB         = var.db_name
    POSTGRES_SSLMODE    = "verify-full"
    S3_BUCKET_NAME      = module.storage.bucket_name
    S3_INPUT_PREFIX     = local.input_prefix
    S3_NHS_PREFIX       = local.nhs_prefix
    S3_ARCHIVE_PREFIX   = local.archive_prefix
    AWS_REGION          = var.aws_region
    AWS_DEFAULT_REGION  = var.aws_region
    API_BASE_URL        = "https://api.${var.domain_name}"
    AIRFLOW_PUBLIC_URL  = "https://airflow.${var.domain_name}"
    WATCHDOG_CLOUDWATCH = "${local.namespace}/${local.name}"
    AIRFLOW_IMAGE       = module.registry.urls["airflow"]
    BACKEND_IMAGE       = module.registry.urls["backend"]
    DASHBOARD_IMAGE     = module.registry.urls["dashboard"]
  }
}

module "monitoring" {
  source              = "./modules/monitoring"
  name                = local.name
  topic_arn           = aws_sns_topic.alarms.arn
  metrics_namespace   = local.namespace
  instance_id         = module.compute.instance_id
  database_identifier = module.database.identifier
  alb_arn_suffix      = module.compute.alb_arn_suffix
  api_target_group    = module.compute.target_groups["api"]
  dead_queue_name     = module.storage.dead_queue_name
}

module "account" {
  source      = "./modules/account"
  count       = var.manage_account ? 1 : 0
  name        = local.name
  kms_key_arn = module.encryption.key_arn
  log_bucket  = module.storage.log_bucket_name
}
