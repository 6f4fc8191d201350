terraform {
  # 1.11: write locks of the state in S3 itself, and validations that look at several variables.
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }

  # Each environment has a state of its own: terraform init -backend-config=environments/<name>.s3.tfbackend
  backend "s3" {}
}
