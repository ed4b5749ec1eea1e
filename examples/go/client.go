// A client of a BBS on stubs that protoc has made from bbs/models/pb: net/http, and what events and errors look like.
package main

// --8<-- [start:client]
import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"example.com/bbs/models"
)

// refused is the BBS saying no. What it has said has a Type, such as models.Error_ResourceExists, or a number that the stubs do not know.
type refused struct{ said *models.Error }

func (r refused) Error() string { return r.said.GetMessage() }

const (
	connectMax = 5 * time.Second
	answerMax  = 30 * time.Second
)

// client has two ways to the same connections: a call must be over in time, a stream only has to begin in time, since a quiet one
// is a healthy one.
type client struct {
	url     string
	calls   *http.Client
	streams *http.Client
}

// newClient makes a client. With an https URL, caFile is who has issued the server's certificate, and the others are our own.
func newClient(url, caFile, certFile, keyFile string) (*client, error) {
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: connectMax}).DialContext,
		TLSHandshakeTimeout:   connectMax,
		ResponseHeaderTimeout: answerMax,
	}
	if strings.HasPrefix(url, "https:") {
		certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, err
		}
		authority, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(authority) {
			return nil, fmt.Errorf("%s: no PEM certificate in it", caFile)
		}
		transport.TLSClientConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: roots}
	}
	calls := &http.Client{Transport: transport, Timeout: answerMax}
	return &client{url, calls, &http.Client{Transport: transport}}, nil
}

func (c *client) post(by *http.Client, path string, request proto.Message) (*http.Response, error) {
	body, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	answer, err := by.Post(c.url+path, "application/x-protobuf", bytes.NewReader(body))
	if err == nil && answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, fmt.Errorf("%s: %s", path, answer.Status)
	}
	return answer, err
}

// call makes a unary call; ping, and the lists of domains and cells, have no request (nil). Every answer is 200, refusals included; any other status comes without a message.
func (c *client) call(path string, request, response proto.Message) error {
	answer, err := c.post(c.calls, path, request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(body, response); err != nil {
		return err
	}
	// A ping's answer is the only one that has no place for an error.
	if may, ok := response.(interface{ GetError() *models.Error }); ok && may.GetError() != nil {
		return refused{may.GetError()}
	}
	return nil
}

// stream is a subscription: no event can be missed from the moment that subscribe has returned.
type stream struct {
	body  io.ReadCloser
	lines *bufio.Reader
}

func (c *client) subscribe(path string) (*stream, error) {
	answer, err := c.post(c.streams, path, &models.EventsByCellId{})
	if err != nil {
		return nil, err
	}
	return &stream{answer.Body, bufio.NewReader(answer.Body)}, nil
}

// messages has the message of each event that is wanted. What is not in it is left out.
var messages = map[string]func() proto.Message{
	"desired_lrp_created":         func() proto.Message { return &models.DesiredLRPCreatedEvent{} },
	"actual_lrp_instance_created": func() proto.Message { return &models.ActualLRPInstanceCreatedEvent{} },
}

// next waits for an event: its name, and its message, which comes in base64. io.EOF: the server has ended the stream.
func (s *stream) next() (string, proto.Message, error) {
	name, data := "", ""
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return "", nil, err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "event":
			name = value
		case "data":
			data = value
		case "": // the blank line behind each event
			if made, ok := messages[name]; ok {
				payload, err := base64.StdEncoding.DecodeString(data)
				if err != nil {
					return name, nil, err
				}
				message := made()
				return name, message, proto.Unmarshal(payload, message)
			}
			name, data = "", ""
		}
	}
}

// --8<-- [end:client]
