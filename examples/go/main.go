// Reads the trades from Kafka in Go: Avro by the registry's schema, shares by side, money as exact decimals.
//
//	go run . localhost:9092 http://localhost:8081 [PREFIX]
//
// It reads what is there, and ends. PREFIX is that of --topic-prefix.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"math/big"
	"os"
	"strings"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
)

// Trade has the fields that are wanted; the others are skipped.
type Trade struct {
	Side        string    `avro:"side"`
	Quantity    int       `avro:"quantity"`
	GrossAmount *big.Rat  `avro:"gross_amount"`
	ExecutedAt  time.Time `avro:"executed_at"`
}

func main() {
	prefix := ""
	if len(os.Args) > 3 {
		prefix = os.Args[3]
	}
	topic := prefix + "banking.trades"
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	registry, err := sr.NewClient(sr.URLs(os.Args[2]))
	check(err)
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(os.Args[1], ",")...), kgo.ConsumeTopics(topic))
	check(err)
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	check(err)
	check(ends.Error())
	var left int64
	ends.Each(func(end kadm.ListedOffset) { left += end.Offset })

	schemas := map[uint32]avro.Schema{}
	shares := map[string]int{}
	bought, first, count := new(big.Rat), time.Time{}, 0
	for left > 0 {
		fetches := client.PollFetches(ctx)
		for _, failed := range fetches.Errors() {
			log.Fatal(failed.Err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			// A value is a zero, the id of its schema in 4 bytes, and the row.
			id := binary.BigEndian.Uint32(record.Value[1:5])
			if schemas[id] == nil {
				found, err := registry.SchemaByID(ctx, int(id))
				check(err)
				schemas[id], err = avro.Parse(found.Schema)
				check(err)
			}
			var trade Trade
			check(avro.Unmarshal(schemas[id], record.Value[5:], &trade))
			shares[trade.Side] += trade.Quantity
			if trade.Side == "BUY" {
				bought.Add(bought, trade.GrossAmount)
			}
			if first.IsZero() || trade.ExecutedAt.Before(first) {
				first = trade.ExecutedAt
			}
			count++
			left--
		})
	}
	fmt.Printf("%d trades, %d shares bought for R$ %s, %d sold, the first at %s\n",
		count, shares["BUY"], bought.FloatString(2), shares["SELL"], first.UTC().Format("2006-01-02T15:04:05.000Z"))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
