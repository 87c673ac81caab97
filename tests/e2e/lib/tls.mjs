// Certificates by the openssl command, a TLS front for the stand-in, and a small proxy.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });

// Files of one test file: ca, and pairs that it has signed (or not).
export class Certificates {
  constructor(t) {
    this.dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-tls-'));
    t.after(() => rmSync(this.dir, { recursive: true, force: true }));
    this.#request('ca', ['-x509', '-days', '30', '-subj', '/CN=test CA', '-addext', 'basicConstraints=critical,CA:TRUE']);
    this.#request('other-ca', ['-x509', '-days', '30', '-subj', '/CN=other CA', '-addext', 'basicConstraints=critical,CA:TRUE']);
    this.#sign('good', 'IP:127.0.0.1,DNS:localhost');
    this.#sign('wrong-host', 'DNS:elsewhere.example');
    this.#sign('expired', 'IP:127.0.0.1', ['-not_before', '20200101000000Z', '-not_after', '20200201000000Z']);
    this.#sign('client', 'DNS:client.example');
    this.#sign('other-client', 'DNS:client.example', ['-days', '30'], 'other-ca');
    this.#request('self-signed', ['-x509', '-days', '30', '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1']);
  }

  // A list of what `ca` has revoked, to <ca>.crl: names of certificates that it has signed.
  revoke(names, ca = 'ca', days = 30) {
    this.write('crl.cnf', `[ca]\ndefault_ca=d\n[d]\ndatabase=${this.file('crl.db')}\nunique_subject=no\ndefault_md=sha256\ncrlnumber=${this.file('crl.number')}\n`);
    this.write('crl.db', '');
    this.write('crl.number', '01\n');
    const by = ['ca', '-config', this.file('crl.cnf'), '-cert', this.file(`${ca}.crt`), '-keyfile', this.file(`${ca}.key`)];
    for (const name of names) openssl(...by, '-revoke', this.file(`${name}.crt`));
    openssl(...by, '-gencrl', ...(days > 0 ? ['-crldays', String(days)] : ['-crlsec', '1']), '-out', this.file('crl.new'));
    renameSync(this.file('crl.new'), this.file(`${ca}.crl`));
    return this.file(`${ca}.crl`);
  }

  file(name) {
    return path.join(this.dir, name);
  }

  pair(name) {
    return { cert: readFileSync(this.file(`${name}.crt`)), key: readFileSync(this.file(`${name}.key`)) };
  }

  write(name, content) {
    writeFileSync(this.file(name), content);
    return this.file(name);
  }

  #request(name, args) {
    openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', this.file(`${name}.key`), '-out', this.file(`${name}.crt`), ...args);
  }

  #sign(name, san, dates = ['-days', '30'], ca = 'ca') {
    this.#request(name, ['-subj', `/CN=${name}`]);
    this.write(`${name}.ext`, `subjectAltName=${san}\n`);
    if (dates[0] === '-days') {
      openssl('x509', '-req', '-in', this.file(`${name}.crt`), '-CA', this.file(`${ca}.crt`), '-CAkey', this.file(`${ca}.key`), '-CAcreateserial', '-extfile', this.file(`${name}.ext`), '-out', this.file(`${name}.crt`), ...dates);
      return;
    }
    // Only `openssl ca` of Debian 12 can date a certificate back.
    this.write(`${name}.db`, '');
    this.write(`${name}.serial`, '77\n');
    this.write(`${name}.cnf`, `[ca]\ndefault_ca=d\n[d]\ndatabase=${this.file(`${name}.db`)}\nserial=${this.file(`${name}.serial`)}\nnew_certs_dir=${this.dir}\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n`);
    const date = (text) => text.slice(2); // YYMMDD...
    openssl('ca', '-batch', '-notext', '-config', this.file(`${name}.cnf`), '-cert', this.file(`${ca}.crt`), '-keyfile', this.file(`${ca}.key`), '-in', this.file(`${name}.crt`), '-extfile', this.file(`${name}.ext`), '-startdate', date(dates[1]), '-enddate', date(dates[3]), '-out', this.file(`${name}.new`));
    writeFileSync(this.file(`${name}.crt`), readFileSync(this.file(`${name}.new`)));
  }
}

const listen = (server, port = 0) => new Promise((resolve, reject) => {
  server.once('error', reject);
  server.listen(port, '127.0.0.1', () => resolve(server.address().port));
});

// A real TLS server on loopback in front of a stand-in; `requests` are those that got through.
export async function tlsFront(t, target, options) {
  const front = { requests: 0, sockets: new Set(), failures: 0, port: 0 };
  const open = async (opts) => {
    front.server = https.createServer(opts, (req, res) => {
      front.requests++;
      const onward = http.request(target + req.url, { method: req.method, headers: req.headers }, (answer) => {
        res.writeHead(answer.statusCode, answer.headers);
        answer.pipe(res);
      });
      onward.on('error', () => res.destroy());
      req.pipe(onward);
    });
    front.server.on('tlsClientError', () => front.failures++);
    front.server.on('connection', (socket) => {
      front.sockets.add(socket);
      socket.on('close', () => front.sockets.delete(socket));
      socket.on('error', () => {});
    });
    front.port = await listen(front.server, front.port);
    front.url = `https://127.0.0.1:${front.port}`;
  };
  front.close = async () => {
    for (const socket of front.sockets) socket.destroy();
    if (front.server.listening) await new Promise((resolve) => front.server.close(resolve));
  };
  // The same port with another certificate.
  front.change = async (opts) => {
    await front.close();
    await open(opts);
  };
  await open(options);
  t.after(front.close);
  return front;
}

// CONNECT and absolute URLs; `seen` is what it was asked for, with headers.
export async function proxy(t) {
  const seen = [];
  const sockets = new Set();
  const server = http.createServer((req, res) => {
    seen.push({ method: req.method, url: req.url, headers: req.headers });
    const onward = http.request(req.url, { method: req.method, headers: req.headers }, (answer) => {
      res.writeHead(answer.statusCode, answer.headers);
      answer.pipe(res);
    });
    onward.on('error', () => res.destroy());
    req.pipe(onward);
  });
  server.on('connect', (req, socket, head) => {
    seen.push({ method: 'CONNECT', url: req.url, headers: req.headers });
    const [host, port] = req.url.split(':');
    const onward = net.connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\nRetry-After: 900\r\n\r\n');
      onward.write(head);
      socket.pipe(onward).pipe(socket);
    });
    sockets.add(onward);
    onward.on('error', () => socket.destroy());
    socket.on('error', () => onward.destroy());
  });
  server.on('connection', (socket) => sockets.add(socket));
  const port = await listen(server);
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { seen, url: `http://127.0.0.1:${port}` };
}
