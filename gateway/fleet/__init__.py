"""The runners as a gateway knows them: what they have, and what is deployed on them."""
