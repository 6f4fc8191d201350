# A secret for each setting that is one. Their values never pass through Terraform, so they are in no state and no plan:
# deploy-ec2.sh makes those that are missing.

variable "name" { type = string }
variable "settings" { type = set(string) }
variable "kms_key_arn" { type = string }
variable "disposable" { type = bool }

resource "aws_secretsmanager_secret" "this" {
  #checkov:skip=CKV2_AWS_57:rotated by deploy-ec2.sh --rotate, because the services must restart with it; docs/security-controls.md
  for_each                = var.settings
  name                    = "${var.name}/${each.key}"
  description             = "Setting ${each.key} of ${var.name}"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.disposable ? 0 : 30
}

output "arns" { value = { for name, secret in aws_secretsmanager_secret.this : name => secret.arn } }
