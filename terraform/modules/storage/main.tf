# The bucket that hospitals drop files into, the queue that hears of each, and the bucket for logs.

variable "name" { type = string }
variable "account_id" { type = string }
variable "bucket_name" { type = string }
variable "bucket_exists" { type = bool }
variable "kms_key_arn" { type = string }
variable "input_prefix" { type = string }
variable "nhs_prefix" { type = string }
variable "archive_prefix" { type = string }
variable "disposable" {
  description = "terraform destroy deletes logs, too"
  type        = bool
}

locals {
  log_bucket = "${var.name}-logs-${var.account_id}"
}

data "aws_iam_policy_document" "log_delivery" {
  statement {
    sid       = "S3AccessLogs"
    actions   = ["s3:PutObject"]
    resources = ["arn:aws:s3:::${local.log_bucket}/s3/${var.bucket_name}/*"]
    principals {
      type        = "Service"
      identifiers = ["logging.s3.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }

  statement {
    sid       = "LoadBalancerLogs"
    actions   = ["s3:PutObject"]
    resources = ["arn:aws:s3:::${local.log_bucket}/alb/AWSLogs/${var.account_id}/*"]
    principals {
      type        = "Service"
      identifiers = ["logdelivery.elasticloadbalancing.amazonaws.com"]
    }
  }

  statement {
    sid       = "TrailAsksForTheBucket"
    actions   = ["s3:GetBucketAcl"]
    resources = ["arn:aws:s3:::${local.log_bucket}"]
    principals {
      type        = "Service"
      identifiers = ["cloudtrail.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }

  statement {
    sid       = "TrailLogs"
    actions   = ["s3:PutObject"]
    resources = ["arn:aws:s3:::${local.log_bucket}/trail/AWSLogs/${var.account_id}/*"]
    principals {
      type        = "Service"
      identifiers = ["cloudtrail.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

module "logs" {
  source        = "../bucket"
  name          = local.log_bucket
  force_destroy = var.disposable
  policies      = [data.aws_iam_policy_document.log_delivery.json]
}

resource "aws_s3_bucket_lifecycle_configuration" "logs" {
  bucket = module.logs.name

  rule {
    id     = "a-year"
    status = "Enabled"
    filter {}
    expiration {
      days = 365
    }
    noncurrent_version_expiration {
      noncurrent_days = 30
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

module "drops" {
  source      = "../bucket"
  count       = var.bucket_exists ? 0 : 1
  name        = var.bucket_name
  kms_key_arn = var.kms_key_arn
  access_log  = { bucket = module.logs.name }
  # Without a retention for all: the pipeline deletes the input object once its bytes are archived and published.
  object_lock = true
}

resource "aws_s3_bucket_lifecycle_configuration" "drops" {
  count  = var.bucket_exists ? 0 : 1
  bucket = module.drops[0].name

  # verify --hash and reprocess read archived files at once, also from Glacier Instant Retrieval.
  rule {
    id     = "archive-to-glacier"
    status = "Enabled"
    filter {
      prefix = var.archive_prefix
    }
    transition {
      days          = 90
      storage_class = "GLACIER_IR"
    }
  }

  # Overwritten and deleted drops: what was claimed of them is in the archive.
  rule {
    id     = "old-versions-of-drops"
    status = "Enabled"
    filter {
      prefix = var.input_prefix
    }
    noncurrent_version_expiration {
      noncurrent_days = 35
    }
  }

  rule {
    id     = "old-versions-of-nhs-returns"
    status = "Enabled"
    filter {
      prefix = var.nhs_prefix
    }
    noncurrent_version_expiration {
      noncurrent_days = 35
    }
  }

  rule {
    id     = "unfinished-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

data "aws_s3_bucket" "existing" {
  count  = var.bucket_exists ? 1 : 0
  bucket = var.bucket_name
}

resource "aws_sqs_queue" "dead" {
  name                      = "${var.name}-drops-dead"
  kms_master_key_id         = var.kms_key_arn
  message_retention_seconds = 1209600
}

resource "aws_sqs_queue" "drops" {
  name                       = "${var.name}-drops"
  kms_master_key_id          = var.kms_key_arn
  message_retention_seconds  = 1209600
  visibility_timeout_seconds = 300
  redrive_policy             = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead.arn, maxReceiveCount = 5 })
}

data "aws_iam_policy_document" "notify" {
  statement {
    sid       = "BucketNotifies"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.drops.arn]
    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = ["arn:aws:s3:::${var.bucket_name}"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

resource "aws_sqs_queue_policy" "drops" {
  queue_url = aws_sqs_queue.drops.url
  policy    = data.aws_iam_policy_document.notify.json
}

# An existing bucket notifies whom its owner chose.
resource "aws_s3_bucket_notification" "drops" {
  count  = var.bucket_exists ? 0 : 1
  bucket = module.drops[0].name

  queue {
    queue_arn     = aws_sqs_queue.drops.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = var.input_prefix
  }

  queue {
    queue_arn     = aws_sqs_queue.drops.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = var.nhs_prefix
  }
  depends_on = [aws_sqs_queue_policy.drops]
}

output "bucket_name" { value = var.bucket_exists ? data.aws_s3_bucket.existing[0].id : module.drops[0].name }
output "bucket_arn" { value = var.bucket_exists ? data.aws_s3_bucket.existing[0].arn : module.drops[0].arn }
output "log_bucket_name" { value = module.logs.name }
output "queue_arn" { value = aws_sqs_queue.drops.arn }
output "queue_url" { value = aws_sqs_queue.drops.url }
output "dead_queue_name" { value = aws_sqs_queue.dead.name }
