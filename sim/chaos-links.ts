/**
 * Links between node processes that can be cut without privileges: a TCP proxy before each node, which its peers dial in its
 * place.
 *
 * A proxy sees bytes of TLS and no names, so it asks the system who dialled: `/proc/net/tcp` gives the socket's inode for the
 * remote port, and the descriptors of the node processes say which of them owns it. Cuts are per direction: while A → B is
 * cut, no byte flows from A to B in any connection, whoever dialled it, and new connections between them hang, as packets
 * vanish in a network. What was under way is delivered when the link heals, as TCP would, unless the cut also resets.
 */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { createServer, connect, type Server, type Socket } from 'node:net';

/** A node and the proxy before it. */
export interface LinkedNode {
  readonly nodeId: number;
  readonly port: number;
  readonly proxyPort: number;
}

/** One direction of a link. */
export interface Direction {
  readonly from: number;
  readonly to: number;
}

/** One proxied connection. */
interface Tunnel {
  readonly dialer: number;
  readonly target: number;
  readonly inbound: Socket;
  outbound: Socket | undefined;
}

/** Node id of a dialler that is no node. */
const stranger = 0;

/** See the file comment. */
export class ChaosLinks {
  readonly #cuts = new Map<string, number>();
  readonly #tunnels = new Set<Tunnel>();
  readonly #processes = new Map<number, number>();
  readonly #servers: Server[] = [];
  readonly #ports = new Map<number, number>();

  /** Opens a proxy before every node. */
  static async open(nodes: readonly LinkedNode[]): Promise<ChaosLinks> {
    const links = new ChaosLinks();
    for (const node of nodes) await links.#listen(node);
    return links;
  }

  /** Says which process a node is now. */
  setProcess(node: number, pid: number | undefined): void {
    if (pid === undefined) this.#processes.delete(node);
    else this.#processes.set(node, pid);
  }

  /** Cuts directions until {@link ChaosLinks.heal} is called for them as often; `isReset` breaks what is connected. */
  cut(directions: readonly Direction[], isReset: boolean): void {
    for (const direction of directions) {
      const name = nameOf(direction);
      this.#cuts.set(name, (this.#cuts.get(name) ?? 0) + 1);
    }
    for (const tunnel of [...this.#tunnels]) {
      const isHit = directions.some(({ from, to }) => joins(tunnel, from, to));
      if (isHit && isReset) this.#drop(tunnel);
      else if (isHit) this.#regulate(tunnel);
    }
  }

  /** Ends cuts. */
  heal(directions: readonly Direction[]): void {
    for (const direction of directions) {
      const name = nameOf(direction);
      const left = (this.#cuts.get(name) ?? 1) - 1;
      if (left === 0) this.#cuts.delete(name);
      else this.#cuts.set(name, left);
    }
    for (const tunnel of [...this.#tunnels]) this.#regulate(tunnel);
  }

  /** Closes proxies and connections. */
  async close(): Promise<void> {
    const closed = this.#servers.map((server) => new Promise((done) => server.close(done)));
    for (const tunnel of [...this.#tunnels]) this.#drop(tunnel);
    await Promise.all(closed);
  }

  async #listen({ nodeId, port, proxyPort }: LinkedNode): Promise<void> {
    this.#ports.set(nodeId, port);
    const server = createServer({ allowHalfOpen: false, noDelay: true, pauseOnConnect: true });
    server.on('connection', (inbound) => {
      inbound.on('error', () => undefined);
      void this.#accept(nodeId, inbound);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(proxyPort, '127.0.0.1', resolve);
    });
    this.#servers.push(server);
  }

  async #accept(target: number, inbound: Socket): Promise<void> {
    const dialer = await this.#dialerOf(inbound.remotePort ?? 0);
    if (inbound.destroyed) return;
    const tunnel: Tunnel = { dialer, target, inbound, outbound: undefined };
    this.#tunnels.add(tunnel);
    inbound.once('close', () => {
      this.#drop(tunnel);
    });
    this.#regulate(tunnel);
  }

  /** Makes a tunnel carry what the cuts allow. */
  #regulate(tunnel: Tunnel): void {
    const { dialer, target, inbound } = tunnel;
    const isThereOpen = !this.#cuts.has(nameOf({ from: dialer, to: target }));
    const isBackOpen = !this.#cuts.has(nameOf({ from: target, to: dialer }));
    if (tunnel.outbound === undefined && isThereOpen && isBackOpen) this.#connect(tunnel);
    if (tunnel.outbound === undefined) return;
    carry(inbound, tunnel.outbound, isThereOpen);
    carry(tunnel.outbound, inbound, isBackOpen);
  }

  #connect(tunnel: Tunnel): void {
    const outbound = connect({
      host: '127.0.0.1',
      port: this.#ports.get(tunnel.target) ?? 0,
      noDelay: true,
    });
    outbound.on('error', () => undefined);
    outbound.once('close', () => {
      this.#drop(tunnel);
    });
    tunnel.outbound = outbound;
  }

  #drop(tunnel: Tunnel): void {
    if (!this.#tunnels.delete(tunnel)) return;
    tunnel.inbound.resetAndDestroy();
    tunnel.outbound?.resetAndDestroy();
  }

  /** Which node process owns the loopback socket with this local port. */
  async #dialerOf(port: number): Promise<number> {
    const inode = await inodeOfPort(port);
    if (inode === undefined) return stranger;
    for (const [node, pid] of this.#processes) {
      if (await ownsSocket(pid, inode)) return node;
    }
    return stranger;
  }
}

/** Both directions between two nodes. */
export function bothWays(one: number, other: number): readonly Direction[] {
  return [
    { from: one, to: other },
    { from: other, to: one },
  ];
}

/** Starts or stops the flow of bytes from one socket to the other. */
function carry(source: Socket, sink: Socket, isOpen: boolean): void {
  const isFlowing = source.listenerCount('data') > 0;
  if (isOpen && !isFlowing) source.pipe(sink);
  if (isOpen || !isFlowing) return;
  source.unpipe(sink);
  source.pause();
}

function nameOf({ from, to }: Direction): string {
  return `${from}>${to}`;
}

function joins({ dialer, target }: Tunnel, from: number, to: number): boolean {
  return (dialer === from && target === to) || (dialer === to && target === from);
}

async function inodeOfPort(port: number): Promise<string | undefined> {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const rows = (await readFile(table, 'utf8').catch(() => '')).split('\n');
    for (const row of rows) {
      const fields = row.trim().split(/\s+/);
      if (fields[1]?.endsWith(local) === true && fields[9] !== '0') return fields[9];
    }
  }
  return undefined;
}

async function ownsSocket(pid: number, inode: string): Promise<boolean> {
  const folder = `/proc/${pid}/fd`;
  const wanted = `socket:[${inode}]`;
  for (const descriptor of await readdir(folder).catch(() => [])) {
    const target = await readlink(`${folder}/${descriptor}`).catch(() => '');
    if (target === wanted) return true;
  }
  return false;
}
