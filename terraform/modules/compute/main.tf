# One private machine that runs the containers, and the load balancer with TLS in front of it.

variable "name" { type = string }
variable "vpc_id" { type = string }
variable "public_subnet_ids" { type = list(string) }
variable "private_subnet_id" { type = string }
variable "instance_type" { type = string }
variable "key_name" { type = string }
variable "kms_key_arn" { type = string }
variable "user_data" { type = string }
variable "domain_name" { type = string }
variable "certificate_arn" { type = string }
variable "allowed_cidr_blocks" { type = list(string) }
variable "log_bucket" { type = string }
variable "deletion_protection" { type = bool }
variable "bucket_arn" { type = string }
variable "input_prefix" { type = string }
variable "nhs_prefix" { type = string }
variable "archive_prefix" { type = string }
variable "queue_arn" { type = string }
variable "repository_arns" { type = list(string) }
variable "secret_arns" { type = list(string) }
variable "master_secret_arn" { type = string }
variable "log_group_arn" { type = string }
variable "metrics_namespace" { type = string }
variable "database_security_group_id" { type = string }

locals {
  # What the load balancer serves: a host name, a port of the machine, and where its health is asked.
  services = {
    api       = { port = 5000, health = "/health", priority = 10 }
    airflow   = { port = 8088, health = "/api/v2/monitor/health", priority = 20 }
    dashboard = { port = 8501, health = "/_stcore/health", priority = 30 }
  }
}

# --- What the machine may do ----------------------------------------------------------------------------------------

data "aws_iam_policy_document" "assumed" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "instance" {
  statement {
    sid       = "FindDrops"
    actions   = ["s3:ListBucket", "s3:ListBucketVersions", "s3:GetBucketVersioning", "s3:GetBucketLocation"]
    resources = [var.bucket_arn]
  }

  statement {
    sid       = "ReadAndLandDrops"
    actions   = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:AbortMultipartUpload"]
    resources = [for prefix in [var.input_prefix, var.nhs_prefix, var.archive_prefix] : "${var.bucket_arn}/${prefix}*"]
  }

  # Of the archive nothing is ever deleted.
  statement {
    sid       = "LetGoOfDrops"
    actions   = ["s3:DeleteObject", "s3:DeleteObjectVersion"]
    resources = [for prefix in [var.input_prefix, var.nhs_prefix] : "${var.bucket_arn}/${prefix}*"]
  }

  statement {
    sid       = "HearOfDrops"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    resources = [var.queue_arn]
  }

  statement {
    sid       = "UseTheKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.kms_key_arn]
  }

  statement {
    sid       = "ReadItsSecrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = concat(var.secret_arns, [var.master_secret_arn])
  }

  statement {
    sid       = "PullImages"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = var.repository_arns
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${var.log_group_arn}:*"]
  }
}

# The two calls that IAM knows no resource for.
data "aws_iam_policy_document" "without_resource" {
  #checkov:skip=CKV_AWS_356:ecr:GetAuthorizationToken and cloudwatch:PutMetricData take no resource
  #checkov:skip=CKV_AWS_111:the metrics' namespace is held by a condition
  statement {
    sid       = "LogInToTheRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "WriteMetrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = [var.metrics_namespace, "CWAgent"]
    }
  }
}

resource "aws_iam_role" "instance" {
  name               = "${var.name}-instance"
  assume_role_policy = data.aws_iam_policy_document.assumed.json
}

resource "aws_iam_role_policy" "instance" {
  name   = "pipeline"
  role   = aws_iam_role.instance.id
  policy = data.aws_iam_policy_document.instance.json
}

resource "aws_iam_role_policy" "without_resource" {
  name   = "without-resource"
  role   = aws_iam_role.instance.id
  policy = data.aws_iam_policy_document.without_resource.json
}

resource "aws_iam_role_policy_attachment" "session_manager" {
  role       = aws_iam_role.instance.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "instance" {
  name = "${var.name}-instance"
  role = aws_iam_role.instance.name
}

# --- Who may talk to whom -------------------------------------------------------------------------------------------

resource "aws_security_group" "load_balancer" {
  name        = "${var.name}-load-balancer"
  description = "TLS from the allowed networks"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-load-balancer" }
}

resource "aws_vpc_security_group_ingress_rule" "tls" {
  for_each          = toset(var.allowed_cidr_blocks)
  security_group_id = aws_security_group.load_balancer.id
  description       = "People and applications"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

# Only to be told to come back over TLS.
resource "aws_vpc_security_group_ingress_rule" "plain" {
  #checkov:skip=CKV_AWS_260:from the allowed networks only, and answered with a redirect to TLS
  for_each          = toset(var.allowed_cidr_blocks)
  security_group_id = aws_security_group.load_balancer.id
  description       = "Redirected to TLS"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
}

resource "aws_vpc_security_group_egress_rule" "to_instance" {
  for_each                     = local.services
  security_group_id            = aws_security_group.load_balancer.id
  referenced_security_group_id = aws_security_group.instance.id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_security_group" "instance" {
  name        = "${var.name}-instance"
  description = "From the load balancer only; no SSH, Session Manager instead"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-instance" }
}

resource "aws_vpc_security_group_ingress_rule" "from_load_balancer" {
  for_each                     = local.services
  security_group_id            = aws_security_group.instance.id
  referenced_security_group_id = aws_security_group.load_balancer.id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

# Services of AWS, images of others, the NHS's publications: all of them over TLS.
resource "aws_vpc_security_group_egress_rule" "tls" {
  security_group_id = aws_security_group.instance.id
  description       = "TLS to anywhere"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "database" {
  security_group_id            = aws_security_group.instance.id
  referenced_security_group_id = var.database_security_group_id
  description                  = "PostgreSQL"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

# --- The machine ----------------------------------------------------------------------------------------------------

data "aws_ssm_parameter" "image" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
}

resource "aws_instance" "this" {
  ami                         = data.aws_ssm_parameter.image.value
  instance_type               = var.instance_type
  subnet_id                   = var.private_subnet_id
  vpc_security_group_ids      = [aws_security_group.instance.id]
  iam_instance_profile        = aws_iam_instance_profile.instance.name
  key_name                    = var.key_name
  monitoring                  = true
  ebs_optimized               = true
  user_data                   = var.user_data
  user_data_replace_on_change = true
  tags                        = { Name = var.name }

  metadata_options {
    http_tokens = "required"
    # A container is one hop further away than the machine.
    http_put_response_hop_limit = 2
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = 100
    encrypted   = true
    kms_key_id  = var.kms_key_arn
  }

  lifecycle {
    # Amazon publishes an image a fortnight; a plan must not replace the machine for it. terraform apply
    # -replace=module.compute.aws_instance.this takes the newest, when that is wanted.
    ignore_changes = [ami]
  }
}

# --- The load balancer ----------------------------------------------------------------------------------------------

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_150:protected by variable, which production must set (variables.tf)
  #checkov:skip=CKV2_AWS_28:only named networks get here, and the API limits rates itself; docs/security-controls.md
  name                       = var.name
  load_balancer_type         = "application"
  subnets                    = var.public_subnet_ids
  security_groups            = [aws_security_group.load_balancer.id]
  drop_invalid_header_fields = true
  desync_mitigation_mode     = "defensive"
  enable_deletion_protection = var.deletion_protection

  access_logs {
    bucket  = var.log_bucket
    prefix  = "alb"
    enabled = true
  }
}

resource "aws_lb_target_group" "this" {
  #checkov:skip=CKV_AWS_378:inside the VPC; TLS ends at the load balancer
  for_each    = local.services
  name        = "${var.name}-${each.key}"
  vpc_id      = var.vpc_id
  protocol    = "HTTP"
  port        = each.value.port
  target_type = "instance"

  health_check {
    path                = each.value.health
    matcher             = "200"
    interval            = 30
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_target_group_attachment" "this" {
  for_each         = aws_lb_target_group.this
  target_group_arn = each.value.arn
  target_id        = aws_instance.this.id
}

resource "aws_lb_listener" "plain" {
  load_balancer_arn = aws_lb.this.arn
  protocol          = "HTTP"
  port              = 80

  default_action {
    type = "redirect"
    redirect {
      protocol    = "HTTPS"
      port        = "443"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_lb_listener" "tls" {
  load_balancer_arn = aws_lb.this.arn
  protocol          = "HTTPS"
  port              = 443
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "404"
      message_body = "Nothing is served under this name."
    }
  }
}

resource "aws_lb_listener_rule" "this" {
  for_each     = local.services
  listener_arn = aws_lb_listener.tls.arn
  priority     = each.value.priority

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this[each.key].arn
  }
  condition {
    host_header {
      values = ["${each.key}.${var.domain_name}"]
    }
  }
}

output "instance_id" { value = aws_instance.this.id }
output "public_ip" { value = aws_instance.this.public_ip }
output "security_group_id" { value = aws_security_group.instance.id }
output "alb_dns_name" { value = aws_lb.this.dns_name }
output "alb_arn_suffix" { value = aws_lb.this.arn_suffix }
output "target_groups" { value = { for name, group in aws_lb_target_group.this : name => group.arn_suffix } }
output "urls" { value = { for name, _ in local.services : name => "https://${name}.${var.domain_name}" } }
