"""How what webhooks tell gets to where it is told."""
