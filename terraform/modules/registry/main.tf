# Images of the pipeline and of the API. A tag is a commit, and is never moved.

variable "name" { type = string }
variable "kms_key_arn" { type = string }
variable "disposable" { type = bool }

resource "aws_ecr_repository" "this" {
  for_each             = toset(["airflow", "backend", "dashboard"])
  name                 = "${var.name}/${each.key}"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = var.disposable

  image_scanning_configuration {
    scan_on_push = true
  }
  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = var.kms_key_arn
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each   = aws_ecr_repository.this
  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Enough to go back ten deployments"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 10 }
      action       = { type = "expire" }
    }]
  })
}

output "urls" { value = { for name, repository in aws_ecr_repository.this : name => repository.repository_url } }
output "arns" { value = [for repository in aws_ecr_repository.this : repository.arn] }
