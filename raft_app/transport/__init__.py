"""How brokers reach each other: frames on one TCP port, snapshots on connections of their own."""
