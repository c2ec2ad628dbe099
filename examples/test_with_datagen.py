"""A test of your own on a bank that is made for it, and gone after it.

pip install 'datagen[local]' pytest
pytest examples/test_with_datagen.py
"""

import psycopg
from confluent_kafka import Consumer


def test_every_transaction_is_of_an_account(datagen_bank):
    bank = datagen_bank(customers=50, seed=7)

    with psycopg.connect(bank.postgres_url) as connection:
        rows = connection.execute("SELECT account_id::text FROM accounts").fetchall()
    accounts = {account for (account,) in rows}

    consumer = Consumer(
        {
            "bootstrap.servers": bank.bootstrap_servers,
            "group.id": bank.schema,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([bank.topics["banking.transactions"]])
    try:
        keys = []
        while len(keys) < bank.plan.rows("banking.transactions"):
            message = consumer.poll(10)
            assert message is not None, "no message for 10 s"
            keys.append(message.key().decode())
    finally:
        consumer.close()
    assert set(keys) <= accounts


def test_two_seeds_are_two_banks(datagen_bank):
    one, other = datagen_bank(seed=1), datagen_bank(seed=2)
    names = []
    for bank in (one, other):
        with psycopg.connect(bank.postgres_url) as connection:
            names.append(connection.execute("SELECT name FROM customers").fetchall())
    assert len(names[0]) == len(names[1]) == 100
    assert names[0] != names[1]
