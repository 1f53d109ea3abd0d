"""The pages of the website and the forms they generate."""
