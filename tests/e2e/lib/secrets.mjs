// A secret of every kind that redaction looks for by itself, none of them live: what is written,
// and a piece of it that must not come out anywhere.
const A = 'cAnaRy7dE6';
const HEX = '0123456789abcdefcafe456789abcdef';

export const SECRETS = {
  email: { text: 'canary.mail@example.com', piece: 'canary.mail' },
  card: { text: '4111 1111 1111 1111', piece: '1111 1111' },
  iban: { text: 'DE89370400440532013000', piece: '0400440532' },
  ssn: { text: '536-90-4399', piece: '90-4399' },
  phone: { text: '+14155552671', piece: '4155552671' },
  ip: { text: '203.0.113.77', piece: '203.0.113' },
  jwt: { text: 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlMTIz', piece: 'eyJzdWIiOiIx' },
  private_key: { text: '-----BEGIN PRIVATE KEY-----\nMIIEvQcanary7BADAN\nBgkq9canary\n-----END PRIVATE KEY-----', piece: 'canary7BAD' },
  bearer: { text: 'Authorization: Bearer canarytoken1234567890', piece: 'canarytoken123' },
  basic: { text: 'Authorization: Basic Y2FuYXJ5OnNlY3JldDEy', piece: 'Y2FuYXJ5' },
  url_password: { text: 'postgres://app:canaryPw1@db.internal/x', piece: 'canaryPw1' },
  staff: { text: 'EMP-481516', piece: '481516' }, // redaction.patterns of the test
  assigned: { text: 'password=canaryhunter', piece: 'canaryhunter' }, // letters only: a constant of its pattern
  posthog_personal: { text: `phx_${A.repeat(4)}ab`, piece: A.repeat(2) },
  posthog_secret: { text: `phs_${A.repeat(4)}ab`, piece: A.repeat(2) },
  posthog_oauth: { text: `pha_${A.repeat(4)}ab`, piece: A.repeat(2) },
  aws_key: { text: 'AKIACANARYODNN7EXAMP', piece: 'CANARYODNN' },
  google_key: { text: `AIza${A.repeat(3)}abcde`, piece: A.repeat(2) },
  github: { text: `ghp_${A.repeat(3)}abcdef`, piece: A.repeat(2) },
  gitlab: { text: `glpat-${A.repeat(2)}`, piece: A.repeat(2) },
  stripe: { text: `sk_live_${A.repeat(2)}`, piece: A.repeat(2) },
  slack: { text: `xoxb-123456789012-123456789012-${A.repeat(2)}`, piece: A.repeat(2) },
  openai: { text: `sk-proj-${A.repeat(2)}T3BlbkFJ${A.repeat(2)}`, piece: A.repeat(2) },
  anthropic: { text: `sk-ant-api03-${A.repeat(9)}abcAA`, piece: A.repeat(2) },
  npm: { text: `npm_${A.repeat(3)}abcdef`, piece: A.repeat(2) },
  sendgrid: { text: `SG.${A.repeat(2)}ab.${A.repeat(4)}abc`, piece: A.repeat(2) },
  pypi: { text: `pypi-AgEIcHlwaS5vcmc${A.repeat(5)}`, piece: A.repeat(2) },
  digitalocean: { text: `dop_v1_${HEX}${HEX}`, piece: 'abcdefcafe45' },
  shopify: { text: `shpat_${HEX}`, piece: 'abcdefcafe45' },
  databricks: { text: `dapi${HEX}`, piece: 'abcdefcafe45' },
  huggingface: { text: 'hf_canaryabcdefghijklmnopqrstuvwxyzAB', piece: 'canaryabcdef' },
  grafana: { text: `glsa_${A.repeat(3)}ab_0a1b2c3d`, piece: A.repeat(2) },
  linear: { text: `lin_api_${A.repeat(4)}`, piece: A.repeat(2) },
  vault: { text: `hvs.${A.repeat(9)}ab`, piece: A.repeat(2) },
};

// By the name of an attribute alone.
export const NAMED = 'canary-named-value';

// What of them stands in a text or bytes, by kind.
export function found(data) {
  const bytes = Buffer.isBuffer(data) ? data : Buffer.from(typeof data === 'string' ? data : JSON.stringify(data));
  const kinds = Object.entries(SECRETS).filter(([, { piece }]) => bytes.includes(piece)).map(([kind]) => kind);
  return bytes.includes(NAMED) ? [...kinds, 'attribute'] : kinds;
}
