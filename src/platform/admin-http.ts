/** Serves the admin service on connections whose TLS and peer the transport has already checked. */
import { createServer, type Server } from 'node:http';
import { createServer as createHttp2Server, type Http2Server } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { createContextValues, type ConnectRouter, type ContextKey } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { PeerIdentity } from '../ports/transport.ts';
import type { HttpProtocol, HttpSocketHandler } from './tls-listener.ts';

/** Options of {@link createAdminHttp}. */
export interface AdminHttpOptions {
  readonly routes: (router: ConnectRouter) => void;
  /** Where the routes look for the caller. */
  readonly principalKey: ContextKey<PeerIdentity | undefined>;
}

/** The HTTP side of the one TLS port. */
export interface AdminHttp extends HttpSocketHandler {
  /** Ends every connection. */
  close(): Promise<void>;
}

const requestBytesMax = 4 * 1024 * 1024;
const streamsMax = 64;
const connectionsMax = 256;
const requestMsMax = 30_000;

/** Makes the handler that the TLS transport gives HTTP connections to. */
export function createAdminHttp({ routes, principalKey }: AdminHttpOptions): AdminHttp {
  const open = new Set<TLSSocket>();
  return {
    handle: (socket, protocol, peer) => {
      if (open.size >= connectionsMax) {
        socket.destroy();
        return;
      }
      open.add(socket);
      socket.once('close', () => open.delete(socket));
      // A server per connection is cheap and carries who is at its other end.
      const server = serverFor(protocol, connectNodeAdapter({
        routes,
        readMaxBytes: requestBytesMax,
        writeMaxBytes: requestBytesMax,
        contextValues: () => createContextValues().set(principalKey, peer),
        fallback: (_request, response) => {
          response.writeHead(404, { 'content-type': 'application/json' });
          response.end('{"error":"there is no such path; the service is clustor.admin.v1.AdminService"}');
        },
      }));
      server.emit('connection', socket);
    },
    close: () => {
      for (const socket of open) socket.destroy();
      return Promise.resolve();
    },
  };
}

function serverFor(protocol: HttpProtocol, handler: ReturnType<typeof connectNodeAdapter>): Server | Http2Server {
  if (protocol === 'h2') {
    const server = createHttp2Server({ settings: { maxConcurrentStreams: streamsMax } }, handler);
    server.on('session', (session) => {
      session.setTimeout(requestMsMax, () => {
        session.close();
      });
      session.on('error', () => {
        session.destroy();
      });
    });
    return server;
  }
  return createServer({ requestTimeout: requestMsMax, headersTimeout: requestMsMax }, handler);
}
