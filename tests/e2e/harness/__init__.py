"""What the end-to-end tests are made of: real servers, a scriptable backend, a plain client."""
