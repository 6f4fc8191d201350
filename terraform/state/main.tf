# The bucket that holds the states of all environments of one account. Made once, before the first init:
#
#     cd terraform/state && terraform init && terraform apply -var=bucket=<name> -var=aws_region=<region>

terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

variable "bucket" {
  description = "Name of the bucket, as in environments/*.s3.tfbackend"
  type        = string
}

variable "aws_region" {
  description = "Its region"
  type        = string
  default     = "eu-west-1"
}

provider "aws" {
  region = var.aws_region
}

data "aws_caller_identity" "this" {}

module "encryption" {
  source     = "../modules/encryption"
  name       = "${var.bucket}-key"
  region     = var.aws_region
  account_id = data.aws_caller_identity.this.account_id
}

module "bucket" {
  source      = "../modules/bucket"
  name        = var.bucket
  kms_key_arn = module.encryption.key_arn
}

resource "aws_s3_bucket_lifecycle_configuration" "states" {
  bucket = module.bucket.name

  rule {
    id     = "old-states"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = 365
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}
