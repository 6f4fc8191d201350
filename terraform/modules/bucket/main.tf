# A private bucket: encrypted, versioned, over TLS only, without ACLs, its accesses logged.

variable "name" { type = string }

variable "kms_key_arn" {
  description = "null: S3's own key, which the log deliveries of S3 and of load balancers ask for"
  type        = string
  default     = null
}

variable "access_log" {
  description = "null: this is where the others log to"
  type        = object({ bucket = string })
  default     = null
}

variable "object_lock" {
  description = "Single objects may be held against deletion; no object is by default"
  type        = bool
  default     = false
}

variable "force_destroy" {
  description = "Objects do not keep terraform destroy from deleting the bucket"
  type        = bool
  default     = false
}

variable "policies" {
  description = "Policy documents (JSON) beside the one that refuses plain http"
  type        = list(string)
  default     = []
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_144:a copy in another region is the sender's to ask for; docs/security-controls.md
  #checkov:skip=CKV2_AWS_62:the drop bucket notifies (modules/storage), nobody waits for logs
  #checkov:skip=CKV2_AWS_61:whoever uses this module says how its objects age (modules/storage, state)
  #checkov:skip=CKV_AWS_18:every bucket logs to the log bucket, which does not log itself
  #checkov:skip=CKV_AWS_145:the drop bucket has the KMS key, log deliveries of S3 and of load balancers take none
  bucket              = var.name
  object_lock_enabled = var.object_lock
  force_destroy       = var.force_destroy
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    bucket_key_enabled = var.kms_key_arn != null
    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_logging" "this" {
  count         = var.access_log == null ? 0 : 1
  bucket        = aws_s3_bucket.this.id
  target_bucket = var.access_log.bucket
  target_prefix = "s3/${var.name}/"
}

data "aws_iam_policy_document" "this" {
  source_policy_documents = var.policies

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  bucket     = aws_s3_bucket.this.id
  policy     = data.aws_iam_policy_document.this.json
  depends_on = [aws_s3_bucket_public_access_block.this]
}

output "name" {
  description = "Known once the bucket's policy stands, so that whoever delivers to it may"
  value       = aws_s3_bucket.this.id
  depends_on  = [aws_s3_bucket_policy.this]
}

output "arn" { value = aws_s3_bucket.this.arn }
