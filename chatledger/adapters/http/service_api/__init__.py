"""The message API that clients of Dify speak, under an app's key."""
