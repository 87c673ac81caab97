// The official OpenTelemetry exporters, two generations of them, over every protocol.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import * as currentSdk from '@opentelemetry/sdk-logs';
import { OTLPLogExporter as CurrentJson } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as CurrentProto } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPLogExporter as CurrentGrpc } from '@opentelemetry/exporter-logs-otlp-grpc';
import oldResources from 'old-resources';
import oldSdk from 'old-sdk-logs';
import oldJson from 'old-exporter-logs-otlp-http';
import oldProto from 'old-exporter-logs-otlp-proto';
import oldGrpc from 'old-exporter-logs-otlp-grpc';
import { attribute } from './lib/otlp.mjs';
import { closeLedger, KEY, pair } from './lib/sidecar.mjs';
import { PostHog } from './lib/posthog.mjs';

const RESOURCE = { 'service.name': 'checkout', 'service.version': '1.2.3', 'host.cores': 8, 'team.names': ['a', 'b'] };

const generations = {
  old: {
    exporters: { json: oldJson.OTLPLogExporter, protobuf: oldProto.OTLPLogExporter, grpc: oldGrpc.OTLPLogExporter },
    provider(exporter) {
      const provider = new oldSdk.LoggerProvider({ resource: new oldResources.Resource(RESOURCE) });
      provider.addLogRecordProcessor(new oldSdk.BatchLogRecordProcessor(exporter, { maxQueueSize: 20000 }));
      return provider;
    },
    bytesInJson: false, // 0.57 writes bytes as an object of numbers
  },
  current: {
    exporters: { json: CurrentJson, protobuf: CurrentProto, grpc: CurrentGrpc },
    provider(exporter) {
      return new currentSdk.LoggerProvider({
        resource: resourceFromAttributes(RESOURCE),
        processors: [new currentSdk.BatchLogRecordProcessor({ exporter, maxQueueSize: 20000 })],
      });
    },
    bytesInJson: true,
  },
};

const BASE_S = Math.floor(Date.now() / 1000);
const at = (i) => [BASE_S, i * 1000];

const inTrace = (i) =>
  trace.setSpanContext(ROOT_CONTEXT, {
    traceId: (0x1000n + BigInt(i)).toString(16).padStart(32, '4'),
    spanId: (0x2000n + BigInt(i)).toString(16).padStart(16, '5'),
    traceFlags: i % 2,
  });

const SEVERITIES = [[0, undefined], [1, 'TRACE'], [5, 'debug'], [9, 'Information'], [13, 'WARNING'], [17, 'ERROR'], [21, 'fatal'], [24, '']];

function variety(n, bytes) {
  const values = [
    'plain', '', 'grüße 🌍 \u0000 \u2028 "quoted" \\', true, false, 0, -1, 3.25, 1e-300, Number.MAX_SAFE_INTEGER,
    Number.MIN_SAFE_INTEGER, [], ['a', 1, 2.5, [true, ['deep']]], {}, { a: { b: { c: [{ d: 'e' }] } }, 'key with spaces': '' },
    ...(bytes ? [new Uint8Array([0, 1, 254, 255])] : []),
  ];
  return Array.from({ length: n }, (_, i) => {
    const [severityNumber, severityText] = SEVERITIES[i % SEVERITIES.length];
    return {
      timestamp: at(i),
      observedTimestamp: at(i + 7),
      ...(severityNumber ? { severityNumber } : {}),
      ...(severityText === undefined ? {} : { severityText }),
      ...(i % 5 === 4 ? {} : { body: values[(i * 7) % values.length] }),
      attributes: {
        n: i,
        value: values[i % values.length],
        other: values[(i * 3 + 1) % values.length],
        ...(i % 11 === 0 ? { '': 'empty key', long: 'x'.repeat(5000) } : {}),
      },
      ...(i % 3 === 0 ? { context: inTrace(i) } : {}),
    };
  });
}

// Alternately through as many loggers as are named: the SDK sends them scope by scope.
async function send(generation, exporter, records, names = ['first', 'second']) {
  const provider = generation.provider(exporter);
  const loggers = names.map((name, i) => provider.getLogger(name, i === 0 ? '0.1' : undefined));
  records.forEach((record, i) => loggers[i % loggers.length].emit(record));
  await provider.forceFlush();
  await provider.shutdown();
}

const byNumber = (a, b) => Number(attribute(a.record, 'n')) - Number(attribute(b.record, 'n'));

const exporterFor = (generation, protocol, gzip, url) =>
  new generation.exporters[protocol]({ url, compression: gzip ? 'gzip' : 'none', timeoutMillis: 20000, headers: protocol === 'grpc' ? undefined : { authorization: `Bearer ${KEY}` } });

for (const [age, generation] of Object.entries(generations)) {
  for (const protocol of ['json', 'protobuf', 'grpc']) {
    for (const gzip of [false, true]) {
      test(`${age} generation, ${protocol}, ${gzip ? 'gzip' : 'plain'}: every record arrives as it was sent`, async (t) => {
        const { stub, sidecar } = await pair(t);
        const N = 1100; // more than two of the SDK's batches
        const records = variety(N, protocol !== 'json' || generation.bytesInJson);

        const direct = await PostHog.start({ limit: 10485760 });
        t.after(() => direct.down());
        const reference = protocol === 'grpc' ? 'protobuf' : protocol;
        await send(generation, exporterFor(generation, reference, false, `${direct.url}/v1/logs`), records);
        assert.equal(direct.records.length, N);

        const url = protocol === 'grpc' ? sidecar.grpc : `${sidecar.http}/v1/logs`;
        await send(generation, exporterFor(generation, protocol, gzip, url), records);
        await closeLedger(sidecar, { received: N, kept: N, delivered: N });

        const got = stub.records.sort(byNumber);
        const want = direct.records.sort(byNumber);
        for (let i = 0; i < N; i++) assert.deepEqual(got[i], want[i], `record ${i}`);
        // The reference is not taken on trust for the plainest facts.
        assert.equal(got[3].record.timeUnixNano, String(BigInt(BASE_S) * 1000000000n + 3000n));
        assert.equal(got[9].record.traceId, Buffer.from((0x1009n).toString(16).padStart(32, '4'), 'hex').toString('base64'));
        assert.equal(attribute(got[9].record, 'value'), String(Number.MAX_SAFE_INTEGER));
        assert.deepEqual(stub.rows[0].resource_attributes['service.name'], '"checkout"');
      });
    }
  }
}

for (const protocol of ['json', 'protobuf', 'grpc']) {
  test(`defaults, ${protocol}: errors all arrive, weights add up to the truth`, async (t) => {
    // The window is long so that no pattern gets its first records twice.
    const { stub, sidecar } = await pair(t, { set: { 'batch.max_age': '50ms', 'sampling.first.window': '24h', 'sampling.stamps': '[adjusted_count, pattern, family]' } });
    const FIRST = 5;
    const rates = { TRACE: 0.05, DEBUG: 0.05, INFO: 0.2, WARN: 0.5, ERROR: 1, FATAL: 1 };
    const plan = [['INFO', 9, 3000], ['DEBUG', 5, 900], ['WARN', 13, 600], ['ERROR', 17, 400], ['FATAL', 21, 50], ['TRACE', 1, 50]];
    const records = [];
    for (const [name, severityNumber, count] of plan)
      for (let i = 0; i < count; i++)
        records.push({
          timestamp: [1750000000, records.length * 1000], // fixed: verdicts are a function of the record
          observedTimestamp: [1750000000, records.length * 1000],
          severityNumber,
          severityText: name,
          body: `${name.toLowerCase()} event number ${i} took ${i % 97} ms`,
          attributes: { n: records.length },
        });
    assert.equal(records.length, 5000);
    const generation = generations.current;
    const url = protocol === 'grpc' ? sidecar.grpc : `${sidecar.http}/v1/logs`;
    await send(generation, exporterFor(generation, protocol, true, url), records, ['only']);
    const ledger = await closeLedger(sidecar, { received: 5000 });
    assert.equal(ledger.kept + ledger.sampled_out, 5000);
    assert.ok(ledger.sampled_out > 2000, 'it did sample');

    for (const [name, severityNumber, count] of plan) {
      const rows = stub.records.filter(
        (r) => r.record.severityNumber === severityNumber && attribute(r.record, 'otel.logs.adjusted_count') !== 0, // not the context of errors
      );
      const weights = rows.map((r) => attribute(r.record, 'otel.logs.adjusted_count'));
      const p = rates[name];
      if (p === 1) {
        assert.equal(rows.length, count, `${name}: all arrive`);
        assert.ok(weights.every((w) => w === undefined), `${name}: no stamps`);
        continue;
      }
      const unstamped = weights.filter((w) => w === undefined).length;
      assert.equal(unstamped, FIRST, `${name}: the first ${FIRST} of the pattern`);
      for (const row of rows.filter((_, i) => weights[i] !== undefined)) {
        assert.ok(Math.abs(attribute(row.record, 'otel.logs.adjusted_count') * p - 1) < 1 / 8192);
        assert.match(attribute(row.record, 'pattern.id'), /^lps1:[0-9a-f]{16}$/);
      }
      const first = rows.filter((_, i) => weights[i] === undefined).map((r) => Number(attribute(r.record, 'n')));
      const begin = records.findIndex((r) => r.severityText === name);
      assert.deepEqual(first.sort((a, b) => a - b), [0, 1, 2, 3, 4].map((i) => begin + i), `${name}: and they are the first`);
      const estimate = weights.reduce((sum, w) => sum + (w ?? 1), 0);
      const sigma = Math.sqrt(((count - FIRST) * (1 - p)) / p);
      assert.ok(Math.abs(estimate - count) <= 3 * sigma, `${name}: ${estimate} for ${count}, sigma ${sigma.toFixed(1)}`);
    }
  });
}
