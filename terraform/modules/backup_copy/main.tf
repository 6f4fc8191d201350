# The database's backups once more, in another region: for the day on which a whole region is gone.

terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

variable "name" { type = string }
variable "account_id" { type = string }
variable "source_instance_arn" { type = string }

data "aws_region" "there" {}

# A key never leaves its region.
module "encryption" {
  source     = "../encryption"
  name       = "${var.name}-backup-copy"
  region     = data.aws_region.there.name
  account_id = var.account_id
}

resource "aws_db_instance_automated_backups_replication" "this" {
  source_db_instance_arn = var.source_instance_arn
  kms_key_id             = module.encryption.key_arn
  retention_period       = 35
}
