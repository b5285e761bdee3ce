"""The result: data, what is located in it, pictures, files."""
