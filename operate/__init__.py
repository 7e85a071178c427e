"""Commands to operate the service: list and replay failed records, test a stack, copy models.

They use the caller's own AWS credentials, region and endpoints.  They import `model_service` only,
and nothing else imports them.
"""
