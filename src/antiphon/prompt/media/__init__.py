"""What a prompt has beside text: pictures and documents, recognised by their bytes."""
