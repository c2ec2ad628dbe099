"""Real PostgreSQL, Apache Kafka and schema registry servers for the tests, without Docker.

Each server runs as an own process that listens on loopback only, keeps its data in a temporary
directory and ends with the test run: `services.kafka`, `services.registry`, `services.postgres`.
`services.proxy` stands between a broker and its clients when the network is to fail.
"""
