/** The commands that a connection answers by itself. */
import { globMatcher, patternBytesMax, patternTooLong } from './glob.ts';
import { valueBytesMax } from './kv-commands.ts';
import type { ByteString } from './kv-store.ts';
import { wrongArgumentCount } from './kv-writes.ts';
import { answerCommand } from './redis-commands.ts';
import { redisVersion } from './redis-info.ts';
import type { ProtocolVersion, Reply } from './redis-protocol.ts';

/** State of one connection. */
export interface Session {
  readonly id: number;
  protocolVersion: ProtocolVersion;
  name: ByteString;
}

/** What CONFIG GET tells. Every acknowledged write is durable, which is what `appendonly` stands for. */
const settings: ReadonlyMap<string, string> = new Map([
  ['save', ''],
  ['appendonly', 'yes'],
  ['appendfsync', 'always'],
  ['databases', '1'],
  ['proto-max-bulk-len', valueBytesMax.toString()],
]);

const ok: Reply = { kind: 'ok' };

/** Answers a command of the kind `connection`; INFO is the server's, `describe` gives its text. */
export function answerLocally(
  session: Session,
  words: readonly ByteString[],
  describe: (sections: readonly string[]) => string,
): Reply {
  const name = (words[0] ?? '').toLowerCase();
  switch (name) {
    case 'ping':
      if (words.length > 2) return error(wrongArgumentCount(name));
      return words[1] === undefined ? { kind: 'status', text: 'PONG' } : bulk(words[1]);
    case 'echo':
      return bulk(words[1] ?? '');
    case 'quit':
      return ok;
    case 'select':
      return words[1] === '0' ? ok : error('ERR DB index is out of range');
    case 'hello':
      return answerHello(session, words);
    case 'client':
      return answerClient(session, words);
    case 'command':
      return answerCommand(words);
    case 'config':
      return answerConfig(words);
    case 'info':
      return bulk(describe(words.slice(1)));
    default:
      return error(`ERR unknown command '${name}'`);
  }
}

function answerHello(session: Session, words: readonly ByteString[]): Reply {
  const version = words[1];
  if (version !== undefined && !/^\d+$/.test(version)) {
    return error('ERR Protocol version is not an integer or out of range');
  }
  if (version !== undefined && version !== '2' && version !== '3') {
    return error('NOPROTO unsupported protocol version');
  }
  let name: ByteString | undefined;
  for (let at = 2; at < words.length; at += 2) {
    const option = words[at]?.toLowerCase();
    if (option === 'auth')
      return error('ERR AUTH is not supported: the listener is for this machine only');
    if (option !== 'setname' || words[at + 1] === undefined) {
      return error(`ERR Syntax error in HELLO option '${words[at] ?? ''}'`);
    }
    name = words[at + 1];
  }
  if (name !== undefined) {
    if (!isConnectionName(name)) return badName;
    session.name = name;
  }
  if (version !== undefined) session.protocolVersion = version === '3' ? 3 : 2;
  return {
    kind: 'map',
    entries: [
      [bulk('server'), bulk('clustor-kv')],
      [bulk('version'), bulk(redisVersion)],
      [bulk('proto'), integer(session.protocolVersion)],
      [bulk('id'), integer(session.id)],
      [bulk('mode'), bulk('standalone')],
      // Every node takes writes, so to a client each of them is a master.
      [bulk('role'), bulk('master')],
      [bulk('modules'), { kind: 'array', items: [] }],
    ],
  };
}

const badName = error('ERR Client names cannot contain spaces, newlines or special characters.');

function isConnectionName(name: ByteString): boolean {
  return /^[!-~]*$/.test(name);
}

function answerClient(session: Session, words: readonly ByteString[]): Reply {
  const subcommand = (words[1] ?? '').toLowerCase();
  const argumentCount = { id: 0, getname: 0, setname: 1, setinfo: 2 }[subcommand];
  if (argumentCount === undefined) return error(`ERR unknown subcommand '${words[1] ?? ''}'.`);
  if (words.length !== argumentCount + 2) return error(wrongArgumentCount(`client|${subcommand}`));
  switch (subcommand) {
    case 'id':
      return integer(session.id);
    case 'getname':
      return session.name === '' ? { kind: 'nil' } : bulk(session.name);
    case 'setname':
      if (!isConnectionName(words[2] ?? '')) return badName;
      session.name = words[2] ?? '';
      return ok;
    default:
      // SETINFO tells the client library's name and version, which nothing here depends on.
      return ok;
  }
}

function answerConfig(words: readonly ByteString[]): Reply {
  if (words[1]?.toLowerCase() !== 'get' || words.length < 3) {
    return error('ERR only CONFIG GET is supported');
  }
  const patterns = words.slice(2).map((word) => word.toLowerCase());
  if (patterns.join(' ').length > patternBytesMax) return error(patternTooLong);
  const names = new Set<string>();
  for (const matches of patterns.map(globMatcher))
    for (const name of settings.keys()) if (matches(name)) names.add(name);
  const found = [...settings].filter(([name]) => names.has(name));
  return { kind: 'map', entries: found.map(([name, value]) => [bulk(name), bulk(value)]) };
}

function bulk(bytes: ByteString): Reply {
  return { kind: 'bulk', bytes };
}

function integer(value: number): Reply {
  return { kind: 'integer', digits: value.toString() };
}

function error(text: string): Reply {
  return { kind: 'error', text };
}
