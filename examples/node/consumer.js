// Reads the trades from Kafka in Node: Avro by the registry's schema, shares by side, money as exact cents.
//
//     npm install && node consumer.js localhost:9092 http://localhost:8081 [PREFIX]
//
// It reads what is there, and ends. PREFIX is that of --topic-prefix.
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')
const SnappyCodec = require('kafkajs-snappy')
const { SchemaRegistry, SchemaType } = require('@kafkajs/confluent-schema-registry')
const avro = require('avsc')

// Of itself kafkajs reads gzip only; datagen sends snappy, and fast loads lz4.
CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec

// Decimals are bytes in Avro: a big-endian integer in two's complement, here of cents.
class Cents extends avro.types.LogicalType {
  _fromValue(bytes) {
    return BigInt.asIntN(8 * bytes.length, BigInt('0x' + bytes.toString('hex')))
  }
}
class Instant extends avro.types.LogicalType {
  _fromValue(milliseconds) {
    return new Date(milliseconds)
  }
}
const logicalTypes = { decimal: Cents, 'timestamp-millis': Instant }

async function main(bootstrap, url, prefix = '') {
  const topic = prefix + 'banking.trades'
  const kafka = new Kafka({ brokers: bootstrap.split(','), logLevel: logLevel.ERROR })
  const registry = new SchemaRegistry({ host: url }, { [SchemaType.AVRO]: { logicalTypes } })

  const admin = kafka.admin()
  await admin.connect()
  let left = 0
  for (const { high } of await admin.fetchTopicOffsets(topic)) left += Number(high)
  await admin.disconnect()

  const shares = { BUY: 0, SELL: 0 }
  let [count, bought, first] = [0, 0n, null]
  const consumer = kafka.consumer({ groupId: 'datagen-example-' + process.pid })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await new Promise((done, failed) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => failed(payload.error))
    consumer.run({
      autoCommit: false,
      eachMessage: async ({ message }) => {
        const trade = await registry.decode(message.value)
        shares[trade.side] += trade.quantity
        if (trade.side === 'BUY') bought += trade.gross_amount
        if (first === null || trade.executed_at < first) first = trade.executed_at
        count += 1
        if (count === left) done()
      },
    })
  })
  await consumer.disconnect()

  const reais = `${bought / 100n}.${String(bought % 100n).padStart(2, '0')}`
  console.log(
    `${count} trades, ${shares.BUY} shares bought for R$ ${reais}, ${shares.SELL} sold, the first at ${first.toISOString()}`
  )
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error)
  process.exit(1)
})
