output "ec2_public_ip" {
  description = "Empty: the machine has no public address (EC2.9). Reach it with: aws ssm start-session --target <instance_id>"
  value       = module.compute.public_ip
}

output "instance_id" {
  description = "The machine, for aws ssm start-session --target"
  value       = module.compute.instance_id
}

output "alb_dns_name" {
  description = "Where the names api., airflow. and dashboard. of domain_name must lead (CNAME)"
  value       = module.compute.alb_dns_name
}

output "rds_endpoint" {
  description = "Host and port of the database; answers inside the VPC only"
  value       = module.database.endpoint
}

output "s3_bucket_name" {
  description = "Where hospitals drop files"
  value       = module.storage.bucket_name
}

output "drop_queue_url" {
  description = "The queue that hears of each drop"
  value       = module.storage.queue_url
}

output "airflow_url" { value = module.compute.urls["airflow"] }
output "api_url" { value = module.compute.urls["api"] }
output "dashboard_url" { value = module.compute.urls["dashboard"] }

output "db_master_secret_arn" {
  description = "The secret that holds the master user's name and password; RDS rotates it"
  value       = module.database.master_secret_arn
}

output "repository_urls" {
  description = "Where deploy-ec2.sh pushes the images"
  value       = module.registry.urls
}

output "secret_arns" {
  description = "Settings that are secrets, each with its secret; deploy-ec2.sh fills those that are empty"
  value       = module.secrets.arns
}
