// grpc-gateway v2 as its own README sets it up, and its users' usual middleware around it where guards are on.
package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"flag"
	"log"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "hms/bench/orderspb"
)

func main() {
	listen := flag.String("listen", "", "address")
	upstream := flag.String("upstream", "", "address of the service")
	key := flag.String("key", "", "PEM file of the public key; guards are on where it is given")
	issuer := flag.String("issuer", "", "of tokens")
	audience := flag.String("audience", "", "of tokens")
	file := flag.String("log", "", "access log")
	flag.Parse()

	connection, err := grpc.NewClient(*upstream, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	mux := runtime.NewServeMux()
	if err := pb.RegisterOrdersHandler(context.Background(), mux, connection); err != nil {
		log.Fatal(err)
	}
	var handler http.Handler = mux
	if *key != "" {
		handler = logged(limited(authenticated(mux, publicKey(*key), *issuer, *audience)), *file)
	}
	log.Fatal(http.ListenAndServe(*listen, handler))
}

func publicKey(file string) *ecdsa.PublicKey {
	text, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	key, err := jwt.ParseECPublicKeyFromPEM(text)
	if err != nil {
		log.Fatal(err)
	}
	return key
}

func authenticated(next http.Handler, key *ecdsa.PublicKey, issuer, audience string) http.Handler {
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(issuer), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(),
	)
	find := func(*jwt.Token) (any, error) { return key, nil }
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !found {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		if _, err := parser.ParseWithClaims(text, &jwt.RegisteredClaims{}, find); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func limited(next http.Handler) http.Handler {
	limiter := rate.NewLimiter(1_000_000, 1_000_000)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !limiter.Allow() {
			http.Error(w, "too many", http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	})
}

type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) Flush() {
	if flusher, ok := r.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
}

// The log is buffered and written once a second, as busy servers do.
func logged(next http.Handler, file string) http.Handler {
	out, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	buffer := &locked{buffer: bufio.NewWriterSize(out, 64*1024)}
	go func() {
		for range time.Tick(time.Second) {
			buffer.flush()
		}
	}()
	logger := slog.New(slog.NewJSONHandler(buffer, nil))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		seen := &recorder{w, http.StatusOK}
		next.ServeHTTP(seen, r)
		logger.LogAttrs(r.Context(), slog.LevelInfo, "request",
			slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", seen.status),
			slog.Duration("took", time.Since(started)), slog.String("peer", r.RemoteAddr))
	})
}

type locked struct {
	sync.Mutex
	buffer *bufio.Writer
}

func (l *locked) Write(data []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.buffer.Write(data)
}

func (l *locked) flush() {
	l.Lock()
	defer l.Unlock()
	_ = l.buffer.Flush()
}
