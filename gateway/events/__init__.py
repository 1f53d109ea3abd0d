"""The events of predictions, from the broker to whoever waits for them.

On the way of an event: `live_events` receives it, `in_flight` knows whom it concerns, `subscriptions` wakes them,
`follower` joins it with the record, `sse` turns it into frames. Beside that, `event_consumer` and `recorder` write
the end of every prediction, and `account_feed` tells whoever follows a whole account.
"""
