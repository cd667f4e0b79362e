/** Every setting of Tidings, as data: name, type, default, meaning. docs/settings.md is generated from this file. */
import type { CleanedEnv } from 'envalid'
import {
  adminKeys,
  int,
  list,
  matching,
  networks,
  oneOf,
  port,
  redisUrl,
  secret,
  serviceTokens,
  text,
  url,
} from './setting-types.js'

export const settings = {
  // The runner
  TIDINGS_DATA_DIR: text({
    default: '.tidings',
    example: 'path',
    desc: 'Where npm start keeps data, logs, packages and secrets.',
  }),
  TIDINGS_API_NODES: int(
    1,
    16,
  )({
    default: 1,
    example: '1 to 16',
    desc: 'How many api processes npm start runs; further ones count up from TIDINGS_API_PORT.',
  }),
  TIDINGS_LOGIC_NODES: int(1, 16)({ default: 1, example: '1 to 16', desc: 'How many logic processes npm start runs.' }),
  TIDINGS_TASK_WORKERS: int(1, 16)({ default: 1, example: '1 to 16', desc: 'How many task workers npm start runs.' }),
  TIDINGS_CONNECT_NODES: int(
    1,
    16,
  )({
    default: 1,
    example: '1 to 16',
    desc: 'How many connect nodes npm start runs; further ones count up from TIDINGS_CONNECT_PORT.',
  }),
  // The stores
  TIDINGS_REDIS_URL: redisUrl({
    default: undefined,
    example: 'redis, redis+sentinel or redis+cluster URL',
    docs: 'secret',
    desc: 'The Redis that holds the streams: redis://host:port, redis+sentinel://host:port,…/name or redis+cluster://host:port,…; rediss for TLS. Given: npm start uses it and starts none.',
  }),
  TIDINGS_MYSQL_URL: url('mysql:')({
    default: undefined,
    example: 'mysql URL',
    docs: 'secret',
    desc: 'The MySQL or MariaDB database. Given: npm start uses it and starts none.',
  }),
  TIDINGS_ETCD_URL: list(
    /^https?:\/\/\S+$/,
    'give one or more http:// URLs, separated by commas.',
  )({
    default: undefined,
    example: 'http URLs',
    desc: 'The etcd endpoints. Given: npm start uses them and starts none.',
  }),
  TIDINGS_NAMESPACE: matching(
    /^[a-z][a-z0-9-]{0,31}$/,
    'give 1 to 32 of a-z, 0-9 and -, with a letter first.',
  )({
    default: 'tidings',
    example: 'name',
    desc: 'First word of every Redis key and etcd key, so that several instances can share the stores.',
  }),
  TIDINGS_PARTITIONS: int(
    1,
    1024,
  )({
    default: 16,
    example: '1 to 1024',
    desc: 'How many streams the conversations are spread over. Fixed for a data set.',
  }),
  // Every process
  TIDINGS_INSTANCE: matching(
    /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/,
    'give 1 to 63 of A-Z, a-z, 0-9, _, . and -.',
  )({
    default: undefined,
    example: 'name',
    desc: 'Name of the process in etcd, logs and metrics. Unique per app. Default: the app with the process id.',
  }),
  TIDINGS_HOST: matching(
    /^[A-Za-z0-9.:-]+$/,
    'give an address of this machine, for example 127.0.0.1 or 0.0.0.0.',
  )({ default: '127.0.0.1', example: 'address', desc: 'Address on which the public ports of api and connect listen.' }),
  TIDINGS_RPC_HOST: matching(
    /^[A-Za-z0-9.:-]+$/,
    'give an address of this machine that the other processes reach.',
  )({
    default: '127.0.0.1',
    example: 'address',
    desc: 'Address on which gRPC listens, listed in etcd for the other processes.',
  }),
  TIDINGS_RPC_PORT: port({ default: 0, example: 'port', desc: 'Port of gRPC (logic, connect). 0 takes a free one.' }),
  TIDINGS_OPS_HOST: matching(
    /^[A-Za-z0-9.:-]+$/,
    'give an address of this machine.',
  )({ default: '127.0.0.1', example: 'address', desc: 'Address of /healthz, /readyz and /metrics.' }),
  TIDINGS_OPS_PORT: port({
    default: 0,
    example: 'port',
    desc: 'Port of /healthz, /readyz and /metrics. 0 takes a free one.',
  }),
  TIDINGS_LOG_LEVEL: oneOf(
    'fatal',
    'error',
    'warn',
    'info',
    'debug',
    'trace',
    'silent',
  )({
    default: 'info',
    example: 'fatal, error, warn, info, debug, trace or silent',
    desc: 'Least level of log lines.',
  }),
  TIDINGS_OTLP_URL: url(
    'http:',
    'https:',
  )({
    default: undefined,
    example: 'http URL',
    desc: 'OTLP/HTTP endpoint for traces, for example http://127.0.0.1:4318/v1/traces. Unset: no tracing, no cost.',
  }),
  // Tokens
  TIDINGS_JWT_SECRET: secret({
    default: undefined,
    example: '32 bytes or more',
    docs: 'secret',
    desc: 'Key of HS256 tokens and of the calls between our own processes. npm start makes one in the data folder.',
  }),
  TIDINGS_JWT_PUBLIC_KEY: text({
    default: undefined,
    example: 'PEM or path of a PEM file',
    desc: 'Public key (SPKI) of an outside identity provider: RSA is RS256, P-256 is ES256, Ed25519 is EdDSA.',
  }),
  TIDINGS_JWKS_URL: url(
    'http:',
    'https:',
  )({
    default: undefined,
    example: 'http URL',
    desc: 'JWKS document of an outside identity provider (RS256, ES256, EdDSA).',
  }),
  TIDINGS_JWT_ISSUER: text({ default: undefined, example: 'text', desc: 'Required iss of outside tokens.' }),
  TIDINGS_JWT_AUDIENCE: text({ default: undefined, example: 'text', desc: 'Required aud of outside tokens.' }),
  TIDINGS_ACCESS_TOKEN_S: int(
    10,
    86_400,
  )({ default: 600, example: '10 to 86400', desc: 'Life of an access token, in seconds.' }),
  TIDINGS_REFRESH_TOKEN_S: int(
    60,
    31_536_000,
  )({ default: 2_592_000, example: '60 to 31536000', desc: 'Life of an unused refresh token, in seconds.' }),
  TIDINGS_SERVICE_TOKENS: serviceTokens({
    default: [],
    example: 'name:scope+scope:token,...',
    docs: 'secret',
    desc: 'Tokens of your own servers; scopes send, push, admin, read; the token in clear or as sha256$hex.',
  }),
  TIDINGS_REGISTRATION: oneOf(
    'open',
    'closed',
  )({
    default: undefined,
    example: 'open or closed',
    desc: 'May anyone register? Default: open; closed where an outside key is set.',
  }),
  // Messages
  TIDINGS_EDIT_WINDOW_S: int(
    0,
    3_153_600_000,
  )({
    default: 900,
    example: 'seconds',
    desc: 'How long after it was sent a message may be edited by its sender. 0: without end.',
  }),
  TIDINGS_RECALL_WINDOW_S: int(
    0,
    3_153_600_000,
  )({
    default: 900,
    example: 'seconds',
    desc: 'How long after it was sent a message may be recalled, by its sender or by an admin of the room. 0: without end.',
  }),
  // The edges
  TIDINGS_API_PORT: port({ default: 8080, example: 'port', desc: 'Port of the HTTP API.' }),
  TIDINGS_CONNECT_PORT: port({ default: 8081, example: 'port', desc: 'Port of the WebSockets.' }),
  TIDINGS_CONNECT_TRANSPORT: oneOf(
    'auto',
    'uws',
    'ws',
  )({
    default: 'auto',
    example: 'auto, uws or ws',
    desc: 'The WebSocket server: uWebSockets.js, or ws where no native build loads. auto chooses at the start.',
  }),
  TIDINGS_ORIGINS: list(
    /^(https?:\/\/[^/\s]+|\*)$/,
    'give origins such as https://app.example.com, separated by commas, or *.',
  )({
    default: [],
    example: 'origins',
    desc: 'Web origins that may open WebSockets and call the API from a page. Requests without an Origin are not from a page and always pass.',
  }),
  TIDINGS_TRUST_PROXY: networks(
    'give networks such as 10.0.0.0/8, separated by commas; true and numbers are not accepted.',
  )({
    default: [],
    example: 'CIDR list',
    desc: 'Networks of the proxies in front, whose X-Forwarded-For is believed.',
  }),
  TIDINGS_ADMIN_KEYS: adminKeys({
    default: [],
    example: 'name:secret,...',
    docs: 'secret',
    desc: 'Keys that sign the calls of operators under /api/v1/admin; none: these calls are refused. npm start makes one, named local, in the data folder.',
  }),
  TIDINGS_ADMIN_ADDRESSES: networks('give networks such as 10.0.0.0/8, separated by commas.')({
    default: ['127.0.0.0/8', '::1/128'],
    example: 'CIDR list',
    desc: 'Networks from which operators may call. Behind a proxy, set TIDINGS_TRUST_PROXY, or all calls come from the proxy.',
  }),
  TIDINGS_RATE_LIMITS: oneOf(
    'on',
    'off',
  )({ default: 'on', example: 'on or off', desc: 'off for benchmarks and trusted networks.' }),
  TIDINGS_SENDS_PER_S: int(
    1,
    1_000_000,
  )({
    default: 500,
    example: '1 to 1000000',
    desc: 'Messages per second and user, over HTTP and WebSockets and all processes together; twice as many in a burst.',
  }),
  TIDINGS_CALLS_PER_S: int(
    1,
    1_000_000,
  )({
    default: 500,
    example: '1 to 1000000',
    desc: 'Other calls over HTTP per second and user; twice as many in a burst.',
  }),
  TIDINGS_SERVICE_CALLS_PER_S: int(
    1,
    1_000_000,
  )({
    default: 10_000,
    example: '1 to 1000000',
    desc: 'Messages and other calls over HTTP per second and service token; twice as many in a burst.',
  }),
  TIDINGS_ADDRESS_CALLS_PER_S: int(
    1,
    1_000_000,
  )({
    default: 200,
    example: '1 to 1000000',
    desc: 'Calls over HTTP without a valid token per second and address (IPv6: /64); twice as many in a burst. Behind a proxy, set TIDINGS_TRUST_PROXY.',
  }),
  TIDINGS_LOGINS_PER_MIN: int(
    1,
    1_000_000,
  )({ default: 300, example: '1 to 1000000', desc: 'Logins per minute and address.' }),
  TIDINGS_REGISTERS_PER_MIN: int(
    1,
    1_000_000,
  )({ default: 300, example: '1 to 1000000', desc: 'Accounts made per minute and address.' }),
  TIDINGS_CONNECTIONS_PER_USER: int(
    1,
    1_000_000,
  )({
    default: 100,
    example: '1 to 1000000',
    desc: 'Sessions that a user may have on one connect node, WebSockets and long-polls together.',
  }),
  TIDINGS_DEVICES_PER_USER: int(
    1,
    10_000,
  )({
    default: 200,
    example: '1 to 10000',
    desc: 'Devices that a user may have, connected or not: each has a cursor in every conversation. Beyond, a new one is refused (409 `limit_reached`, close 4429) until one is removed.',
  }),
  TIDINGS_SESSIONS_PER_USER: int(
    0,
    1_000_000,
  )({
    default: 0,
    example: '0 to 1000000',
    desc: 'Sessions that a user may have on all connect nodes together, also with TIDINGS_RATE_LIMITS=off. 0: no policy.',
  }),
  TIDINGS_SESSIONS_POLICY: oneOf(
    'refuse',
    'replace_oldest',
  )({
    default: 'refuse',
    example: 'refuse or replace_oldest',
    desc: 'What becomes of a session beyond TIDINGS_SESSIONS_PER_USER: it is refused with 4429, or the oldest one is closed with 4409.',
  }),
  TIDINGS_CONNECTIONS_PER_ADDRESS: int(
    1,
    1_000_000,
  )({
    default: 10_000,
    example: '1 to 1000000',
    desc: 'WebSockets from one address (IPv6: /64) on one connect node. Behind a proxy, set TIDINGS_TRUST_PROXY.',
  }),
  TIDINGS_ACCEPT_REPLICAS: int(
    0,
    8,
  )({
    default: 0,
    example: '0 to 8',
    desc: 'How many Redis replicas must have an entry before it counts as accepted; on a cluster, of its shard.',
  }),
  TIDINGS_MAX_BACKLOG: int(
    100,
    1_000_000_000,
  )({
    default: 1_000_000,
    example: '100 to 1000000000',
    desc: 'Entries that MySQL may be behind before sends are refused with 503; batches and pushes from half of it on. A million entries with 300 bytes of content take about 1 GB in Redis.',
  }),
  TIDINGS_REDIS_MEMORY_MB: int(
    0,
    100_000_000,
  )({
    default: 0,
    example: '0 to 100000000',
    desc: 'MiB that Redis may use, where it has no maxmemory of its own: batches and pushes are refused from 75 % on, sends from 85 % on. 0: no such bound.',
  }),
  TIDINGS_PRE_SEND_URL: url(
    'http:',
    'https:',
  )({
    default: undefined,
    example: 'http URL',
    docs: 'secret',
    desc: 'Where each message is shown before it is accepted; see docs/moderation.md. Unset: nobody is asked, no cost.',
  }),
  TIDINGS_PRE_SEND_SECRET: secret({
    default: undefined,
    example: '32 bytes or more',
    docs: 'secret',
    desc: 'Key of the signature of what goes to TIDINGS_PRE_SEND_URL.',
  }),
  TIDINGS_PRE_SEND_DEADLINE_MS: int(
    10,
    10_000,
  )({
    default: 500,
    example: '10 to 10000',
    desc: 'Milliseconds that a message waits for the answer of TIDINGS_PRE_SEND_URL.',
  }),
  TIDINGS_PRE_SEND_ON_FAILURE: oneOf(
    'allow',
    'reject',
  )({
    default: 'allow',
    example: 'allow or reject',
    desc: 'What becomes of messages while TIDINGS_PRE_SEND_URL fails, is too slow or answers nonsense: they pass, or they are refused with 503.',
  }),
  TIDINGS_HEARTBEAT_MS: int(
    100,
    300_000,
  )({
    default: 30_000,
    example: '100 to 300000',
    desc: 'Milliseconds between pings to a WebSocket; it is closed after three without an answer.',
  }),
  // Files
  TIDINGS_FILES_DIR: text({
    default: undefined,
    example: 'path',
    desc: 'Where uploaded files lie; with several machines that run api, a folder that they share. Default: files in TIDINGS_DATA_DIR.',
  }),
  TIDINGS_FILE_MAX_BYTES: int(
    1,
    1_000_000_000_000,
  )({ default: 26_214_400, example: '1 to 1000000000000', desc: 'Bytes that an uploaded file may have.' }),
  TIDINGS_FILE_TYPES: list(
    /^(\*|[a-z0-9][a-z0-9!#$&^_.+-]*)\/(\*|[a-z0-9][a-z0-9!#$&^_.+-]*)$/,
    'give media types such as image/* or application/pdf, separated by commas.',
  )({
    default: ['*/*'],
    example: 'media types',
    desc: 'Media types that may be uploaded, as found in the bytes where these tell; image/* stands for all images.',
  }),
  TIDINGS_FILE_QUOTA_BYTES: int(
    0,
    1_000_000_000_000_000,
  )({
    default: 1_073_741_824,
    example: '0 to 1000000000000000',
    desc: 'Bytes that the uploaded files of one user may have together, each counted as 4,096 at least. 0: no bound.',
  }),
  TIDINGS_FILE_UPLOAD_S: int(
    10,
    3_600,
  )({ default: 600, example: '10 to 3600', desc: 'Seconds that an upload may take from its first byte to its last.' }),
  TIDINGS_FILE_ORPHAN_S: int(
    1,
    31_536_000,
  )({
    default: 86_400,
    example: '1 to 31536000',
    desc: 'Seconds after which an uploaded file that no message refers to is deleted.',
  }),
  // The workers
  TIDINGS_TASK_GROUPS: list(
    /^(push|persist|notify)$/,
    'give some of push, persist and notify, separated by commas.',
  )({
    default: ['push', 'persist'],
    example: 'push,persist,notify',
    desc: 'Consumer groups that this worker serves. notify is for webhooks and Web Push, and reads every entry once more.',
  }),
  TIDINGS_WORKER_LEASE_S: int(
    2,
    60,
  )({
    default: 3,
    example: '2 to 60',
    desc: 'Seconds after which a task worker that has died loses its partitions to the others.',
  }),
  TIDINGS_RETENTION_DAYS: int(
    0,
    36_500,
  )({
    default: 0,
    example: '0 to 36500',
    desc: 'Days after which messages are removed for good; a room may say less, never more. 0: they are kept for ever.',
  }),
  TIDINGS_RETENTION_EVERY_S: int(
    1,
    86_400,
  )({ default: 600, example: '1 to 86400', desc: 'Seconds between two looks for messages that are too old.' }),
  TIDINGS_SEARCH: oneOf(
    'on',
    'off',
  )({
    default: 'on',
    example: 'on or off',
    desc: 'off: no index of words is kept, and GET /search answers 404. Turned on again, it is made up for.',
  }),
  TIDINGS_SEARCH_PER_S: int(
    1,
    1_000_000,
  )({
    default: 2_000,
    example: '1 to 1000000',
    desc: 'Stored messages per second that the index of words takes in, at most: two less for each that is stored meanwhile, but a tenth always. It rests as long as it works, too.',
  }),
  TIDINGS_NODE_LEASE_S: int(
    2,
    60,
  )({
    default: 10,
    example: '2 to 60',
    desc: 'Seconds after which etcd drops the listings of an api, logic or connect process that has died.',
  }),
  // Webhooks and Web Push
  TIDINGS_HOOKS_ALLOW_PRIVATE: oneOf(
    'on',
    'off',
  )({
    default: 'off',
    example: 'on or off',
    desc: 'on: webhooks may use http and, like push services, private addresses. For tests and closed networks: whoever may make webhooks can then reach what the workers reach.',
  }),
  TIDINGS_HOOKS_RETRY_FOR_S: int(
    1,
    2_592_000,
  )({
    default: 86_400,
    example: '1 to 2592000',
    desc: 'Seconds for which an event that a webhook does not take is tried again, at growing intervals, before it becomes a dead letter.',
  }),
  TIDINGS_HOOKS_SECRET_OVERLAP_S: int(
    0,
    2_592_000,
  )({
    default: 86_400,
    example: '0 to 2592000',
    desc: 'Seconds for which deliveries are signed with the old secret, too, after the secret of a webhook was replaced. 0: with the new one alone.',
  }),
  TIDINGS_VAPID_PUBLIC_KEY: matching(
    /^B[A-Za-z0-9_-]{86}$/,
    'give a P-256 public key as 87 characters of base64url.',
  )({
    default: undefined,
    example: '87 characters',
    desc: 'Public key by which push services know this server. npm start makes a pair in the data folder. Without one, there is no Web Push.',
  }),
  TIDINGS_VAPID_PRIVATE_KEY: matching(
    /^[A-Za-z0-9_-]{43}$/,
    'give a P-256 private key as 43 characters of base64url.',
  )({ default: undefined, example: '43 characters', docs: 'secret', desc: 'The private key to it.' }),
  TIDINGS_VAPID_SUBJECT: matching(
    /^(mailto:[^\s@]+@[^\s@]+|https:\/\/\S+)$/,
    'give mailto: with an address, or an https URL.',
  )({
    default: 'mailto:operator@example.com',
    example: 'mailto: or https URL',
    desc: 'Where the operators of push services reach you when something is wrong. Some services refuse an address that cannot be one.',
  }),
  TIDINGS_WEB_PUSH_AFTER_S: int(
    0,
    3_600,
  )({
    default: 10,
    example: '0 to 3600',
    desc: 'Seconds that a device has for acknowledging a message before it is pushed to.',
  }),
  TIDINGS_WEB_PUSH_CONTENT: oneOf(
    'on',
    'off',
  )({
    default: 'off',
    example: 'on or off',
    desc: 'on: a push holds the beginning of the text, which is then in MySQL twice for a while; off: who wrote and where.',
  }),
}

export type SettingName = keyof typeof settings
/** Every setting with the type of its checked value. */
export type Settings = CleanedEnv<typeof settings>
