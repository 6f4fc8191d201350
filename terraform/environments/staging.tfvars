# As production, in one zone. manage_account = false: staging and dev share an account, whose CloudTrail dev makes.
environment       = "staging"
vpc_cidr          = "10.41.0.0/16"
ec2_instance_type = "m7i.xlarge"
db_instance_class = "db.m7g.large"
manage_account    = false
