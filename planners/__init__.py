"""Who writes the text and says where a picture is due."""
