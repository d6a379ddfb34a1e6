"""What a prompt has beside text: pictures and documents, told by their bytes."""
