package plugins

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

// Go adapters print into a pipe of go-plugin's, which blocks them when nobody
// reads it. These are its two services, with messages as they are on the wire:
// go-plugin's own client for them can't be bounded.

// raw is a message in its encoded form.
type raw []byte

type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*raw), nil }

func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*raw) = append(raw(nil), data...)
	return nil
}

func (rawCodec) Name() string { return "proto" }

// readStdio brings what a Go adapter prints to the log, until its connection
// ends. Adapters in other languages don't have the service.
func (g *generation) readStdio() {
	stream, err := g.conn.NewStream(context.Background(), &grpc.StreamDesc{ServerStreams: true},
		"/plugin.GRPCStdio/StreamStdio", grpc.ForceCodec(rawCodec{}))
	if err != nil || stream.SendMsg(new(raw)) != nil || stream.CloseSend() != nil {
		return
	}
	outputs := map[uint64]*splitter{
		1: {fn: func(line string, more int) { g.a.printed("stdout", line, more) }},
		2: {fn: func(line string, more int) { g.a.printed("stderr", line, more) }},
	}
	for {
		var m raw
		if stream.RecvMsg(&m) != nil {
			break
		}
		if channel, data := stdioData(m); outputs[channel] != nil {
			outputs[channel].Write(data)
		}
	}
	for _, o := range outputs {
		o.end()
	}
}

// stdioData reads go-plugin's StdioData: {Channel channel = 1; bytes data = 2;}
func stdioData(m []byte) (channel uint64, data []byte) {
	for len(m) > 0 {
		number, kind, n := protowire.ConsumeTag(m)
		if n < 0 {
			return 0, nil
		}
		m = m[n:]
		switch {
		case number == 1 && kind == protowire.VarintType:
			channel, n = protowire.ConsumeVarint(m)
		case number == 2 && kind == protowire.BytesType:
			data, n = protowire.ConsumeBytes(m)
		default:
			n = protowire.ConsumeFieldValue(number, kind, m)
		}
		if n < 0 {
			return 0, nil
		}
		m = m[n:]
	}
	return channel, data
}

// shutdown asks the process to end, by go-plugin's controller.
func (g *generation) shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	var answer raw
	// Whether it obeys is seen by its end; whatever it answers, it is killed soon.
	_ = g.conn.Invoke(ctx, "/plugin.GRPCController/Shutdown", new(raw), &answer, grpc.ForceCodec(rawCodec{}))
}
