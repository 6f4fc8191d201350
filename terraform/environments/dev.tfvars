# For trying things out: small, and gone with terraform destroy.
environment         = "dev"
vpc_cidr            = "10.40.0.0/16"
ec2_instance_type   = "t3.large"
db_instance_class   = "db.t4g.medium"
deletion_protection = false
