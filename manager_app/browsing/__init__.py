"""Messages for people: found, shown and published, as the console does it for who may read them.

`filters` and `display` are pure rules over one message, `lanes` over those of several partitions.
`reading` and `publishing` ask brokers, in the manager's loop; what is large is decoded in a thread
beside it. The console and the API import this package; it imports neither.
"""
