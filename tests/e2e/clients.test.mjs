// Loggers as applications have them, and the other two signals.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import zlib from 'node:zlib';
import { logs } from '@opentelemetry/api-logs';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { OpenTelemetryTransportV3 } from '@opentelemetry/winston-transport';
import { PostHog as PostHogClient } from 'posthog-node';
import winston from 'winston';
import { closeLedger, KEEP_ALL, KEY, pair } from './lib/sidecar.mjs';
import { PostHog } from './lib/posthog.mjs';
import { until } from './lib/wait.mjs';
import { grpc, h2, http1 } from './lib/wire.mjs';

test('winston', async (t) => {
  const { stub, sidecar } = await pair(t);
  const provider = new LoggerProvider({
    resource: resourceFromAttributes({ 'service.name': 'winston-app' }),
    processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter({ url: `${sidecar.http}/v1/logs` }) })],
  });
  logs.setGlobalLoggerProvider(provider);
  t.after(() => logs.disable());
  const logger = winston.createLogger({ level: 'silly', transports: [new OpenTelemetryTransportV3()] });
  for (const level of ['error', 'warn', 'info', 'debug']) logger.log(level, `${level} from winston`, { order: 7, list: ['a'] });
  await provider.forceFlush();
  await provider.shutdown();
  await closeLedger(sidecar, { received: 4, delivered: 4 });
  assert.deepEqual(stub.rows.map((r) => [r.severity_text, r.body]), ['error', 'warn', 'info', 'debug'].map((l) => [l, `${l} from winston`]));
  assert.ok(stub.rows.every((r) => r.service_name === 'winston-app' && r.attributes.order === '7'));
});

for (const protocol of ['http/protobuf', 'http', 'grpc']) {
  test(`pino, ${protocol}`, async (t) => {
    const { stub, sidecar } = await pair(t);
    const endpoint = protocol === 'grpc' ? sidecar.grpc : `${sidecar.http}/i/v1/logs?token=phc_app`;
    const child = spawn(process.execPath, [fileURLToPath(new URL('fixtures/pino.mjs', import.meta.url))], {
      env: { PATH: process.env.PATH, OTEL_EXPORTER_OTLP_LOGS_PROTOCOL: protocol, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: endpoint },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    t.after(() => child.kill('SIGKILL'));
    const [code] = await once(child, 'exit');
    assert.equal(code, 0);
    await closeLedger(sidecar, { received: 6, delivered: 6 });
    const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];
    assert.deepEqual(stub.rows.map((r) => [r.severity_text, r.body]), levels.map((l) => [l, `${l} from pino`]));
    assert.ok(stub.rows.every((r) => r.service_name === 'pino-app'));
    assert.deepEqual(JSON.parse(stub.rows[2].attributes.nested), { a: [1, 'b'] });
  });
}

test('posthog-node: its logs, with only the host changed', async (t) => {
  const { stub, sidecar } = await pair(t);
  const client = new PostHogClient(KEY, { host: sidecar.http, logs: { serviceName: 'node-app' }, flushAt: 1000, disableRemoteConfig: true });
  for (let i = 0; i < 20; i++) client.logger.info(`order ${i} placed`, { order_id: `o${i}`, total: i });
  client.captureLog({ body: 'payment failed', level: 'error', attributes: { code: 'E001' } });
  await client.shutdown();
  await closeLedger(sidecar, { received: 21, delivered: 21 });
  assert.ok(stub.rows.every((r) => r.service_name === 'node-app'));
  const failed = stub.rows.find((r) => r.body === 'payment failed');
  assert.deepEqual([failed.severity_text, failed.attributes.code], ['error', '"E001"']);
  assert.equal(stub.rows.find((r) => r.body === 'order 7 placed').attributes.total, '7');
});

// ---- traces and metrics

const resource = resourceFromAttributes({ 'service.name': 'other-signals' });

async function someSpans() {
  const spans = [];
  const keep = { export: (list, done) => (spans.push(...list), done({ code: 0 })), shutdown: async () => {} };
  const provider = new BasicTracerProvider({ resource, spanProcessors: [new SimpleSpanProcessor(keep)] });
  const tracer = provider.getTracer('t');
  for (let i = 0; i < 20; i++) tracer.startSpan(`span ${i}`, { attributes: { i } }).end();
  await provider.forceFlush();
  return spans;
}

async function someMetrics() {
  let data;
  const keep = { export: (all, done) => ((data = all), done({ code: 0 })), shutdown: async () => {}, forceFlush: async () => {} };
  const reader = new PeriodicExportingMetricReader({ exporter: keep, exportIntervalMillis: 3600000 });
  const provider = new MeterProvider({ resource, readers: [reader] });
  const counter = provider.getMeter('m').createCounter('requests');
  for (let i = 0; i < 20; i++) counter.add(i, { route: `/r${i}` });
  await provider.forceFlush();
  return { data, provider };
}

const exportOne = (exporter, items) =>
  new Promise((resolve, reject) => exporter.export(items, (result) => (result.code === 0 ? resolve() : reject(result.error ?? new Error('not exported')))));

for (const compression of ['none', 'gzip']) {
  test(`traces and metrics of the SDK, ${compression}: relayed byte for byte, not sampled`, async (t) => {
    const { stub, sidecar } = await pair(t, { set: { 'sampling.severity_rates.INFO': 0 } });
    const direct = await PostHog.start();
    t.after(() => direct.down());
    const spans = await someSpans();
    const { data, provider } = await someMetrics();
    for (const [base, headers] of [[direct.url, { authorization: `Bearer ${KEY}` }], [sidecar.http, {}]]) {
      await exportOne(new OTLPTraceExporter({ url: `${base}/v1/traces`, compression, headers }), spans);
      await exportOne(new OTLPMetricExporter({ url: `${base}/v1/metrics`, compression, headers }), data);
    }
    await provider.shutdown();
    for (const signal of ['traces', 'metrics']) {
      await until(`${signal} upstream`, () => stub.relayed[signal].length === 1);
      const [got] = stub.relayed[signal];
      const [want] = direct.relayed[signal];
      assert.ok(got.body.length > 100);
      assert.ok(got.wire.equals(want.wire), `${signal}: the same bytes`);
      assert.equal(got.headers['content-type'], 'application/x-protobuf');
      assert.equal(got.headers['content-encoding'], want.headers['content-encoding']);
      assert.equal(got.headers.authorization, `Bearer ${KEY}`);
    }
    await closeLedger(sidecar, { received: 0 });
  });
}

test('traces and metrics over gRPC and JSON; retried; counted', async (t) => {
  const { stub, sidecar } = await pair(t);
  const body = Buffer.from('bytes that nobody here reads \x00\xff', 'latin1');
  const json = Buffer.from('{"resourceSpans":[{"x":1}]}');
  const service = { traces: 'trace.v1.TraceService', metrics: 'metrics.v1.MetricsService' };
  for (const signal of ['traces', 'metrics']) {
    const call = (message, more) => grpc(sidecar.grpcPort, { path: `/opentelemetry.proto.collector.${service[signal]}/Export`, message, ...more });
    assert.equal((await call(body)).code, 0);
    assert.equal((await call(zlib.gzipSync(body), { compressed: 1, encoding: 'gzip' })).code, 0);
    assert.equal((await http1(sidecar.httpPort, { path: `/v1/${signal}`, body: json, headers: { 'content-type': 'application/json' } })).status, 200);
    assert.equal((await h2(sidecar.httpPort, { path: `/i/v1/${signal}/?token=x`, body })).status, 200);
    await until(`${signal} upstream`, () => stub.relayed[signal].length === 4);
    const bodies = stub.relayed[signal].map((r) => r.body);
    assert.equal(bodies.filter((b) => b.equals(body)).length, 3);
    assert.equal(bodies.filter((b) => b.equals(json)).length, 1);
    assert.equal(stub.relayed[signal].find((r) => r.body.equals(json)).headers['content-type'], 'application/json');
  }
  await until('the counts', async () => {
    const metrics = await sidecar.metrics();
    return ['traces', 'metrics'].every((signal) => metrics[`lipservice_relay_requests_total{signal="${signal}",outcome="delivered"}`] === 4);
  });
  await closeLedger(sidecar, { received: 0 });
});

test('passthrough: discard and refuse', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'passthrough.traces': 'discard', 'passthrough.metrics': 'refuse' } });
  const body = Buffer.from('x');
  assert.equal((await http1(sidecar.httpPort, { path: '/v1/traces', body })).status, 200);
  assert.equal((await http1(sidecar.httpPort, { path: '/v1/metrics', body })).status, 404);
  assert.equal((await grpc(sidecar.grpcPort, { path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export', message: body })).code, 0);
  assert.equal((await grpc(sidecar.grpcPort, { path: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export', message: body })).code, 12);
  assert.equal(await sidecar.refused('signal_refused'), 2);
  await closeLedger(sidecar, { received: 0 });
  assert.deepEqual(stub.requests, []);
});
