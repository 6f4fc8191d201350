# What is measured, and who hears of it. Every alarm has its entry in docs/operations.md, "Runbook".

variable "name" { type = string }
variable "topic_arn" { type = string }
variable "metrics_namespace" { type = string }
variable "instance_id" { type = string }
variable "database_identifier" { type = string }
variable "alb_arn_suffix" { type = string }
variable "api_target_group" { type = string }
variable "dead_queue_name" { type = string }

locals {
  alarms = {
    # The watchdog on the instance writes it every 15 minutes. If nothing comes, nobody is watching: that alarms, too.
    MedilinkNotPublished = {
      says      = "No run was published for 26 hours, or the watchdog is silent."
      namespace = var.metrics_namespace, metric = "HoursSincePublication", statistic = "Maximum"
      above     = 26, seconds = 900, periods = 2, dimensions = { Environment = var.name }, silence = "breaching"
    }
    MedilinkRunFailed = {
      says      = "A run failed, or was abandoned, in the last day."
      namespace = var.metrics_namespace, metric = "FailedRuns", statistic = "Maximum"
      above     = 0, seconds = 900, periods = 1, dimensions = { Environment = var.name }, silence = "notBreaching"
    }
    MedilinkDropsUnread = {
      says      = "Notifications of drops could not be handled."
      namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", statistic = "Maximum"
      above     = 0, seconds = 300, periods = 1, dimensions = { QueueName = var.dead_queue_name }, silence = "notBreaching"
    }
    MedilinkDiskFull = {
      says      = "The machine's disk is more than 80 % full."
      namespace = "CWAgent", metric = "disk_used_percent", statistic = "Maximum"
      above     = 80, seconds = 300, periods = 3, dimensions = { InstanceId = var.instance_id, path = "/" }, silence = "missing"
    }
    MedilinkMachineDown = {
      says      = "The machine fails the checks of EC2."
      namespace = "AWS/EC2", metric = "StatusCheckFailed", statistic = "Maximum"
      above     = 0, seconds = 60, periods = 3, dimensions = { InstanceId = var.instance_id }, silence = "breaching"
    }
    MedilinkMachineBusy = {
      says      = "The machine's processors are busy for an hour."
      namespace = "AWS/EC2", metric = "CPUUtilization", statistic = "Average"
      above     = 90, seconds = 300, periods = 12, dimensions = { InstanceId = var.instance_id }, silence = "missing"
    }
    MedilinkDatabaseBusy = {
      says      = "The database's processors are busy for an hour."
      namespace = "AWS/RDS", metric = "CPUUtilization", statistic = "Average"
      above     = 90, seconds = 300, periods = 12, dimensions = { DBInstanceIdentifier = var.database_identifier }, silence = "missing"
    }
    MedilinkApiUnhealthy = {
      says       = "The load balancer finds no healthy API."
      namespace  = "AWS/ApplicationELB", metric = "UnHealthyHostCount", statistic = "Maximum"
      above      = 0, seconds = 60, periods = 5, silence = "missing"
      dimensions = { LoadBalancer = var.alb_arn_suffix, TargetGroup = var.api_target_group }
    }
    MedilinkApiFails = {
      says      = "The API answered more than 20 requests with 5xx in five minutes."
      namespace = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", statistic = "Sum"
      above     = 20, seconds = 300, periods = 1, dimensions = { LoadBalancer = var.alb_arn_suffix }, silence = "notBreaching"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "above" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.says} Runbook: docs/operations.md"
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  period              = each.value.seconds
  evaluation_periods  = each.value.periods
  treat_missing_data  = each.value.silence
  alarm_actions       = [var.topic_arn]
  ok_actions          = [var.topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "database_full" {
  alarm_name          = "${var.name}-MedilinkDatabaseFull"
  alarm_description   = "The database has less than 10 GiB left, though it grows by itself. Runbook: docs/operations.md"
  namespace           = "AWS/RDS"
  metric_name         = "FreeStorageSpace"
  dimensions          = { DBInstanceIdentifier = var.database_identifier }
  statistic           = "Minimum"
  comparison_operator = "LessThanThreshold"
  threshold           = 10 * 1024 * 1024 * 1024
  period              = 300
  evaluation_periods  = 3
  treat_missing_data  = "missing"
  alarm_actions       = [var.topic_arn]
  ok_actions          = [var.topic_arn]
}
