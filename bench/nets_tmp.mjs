import * as t from "@prior-art/tensor";
import { networks } from "/tmp/lead/bench/engine/networks.mjs";
const only=process.argv[2];
const T=+(process.env.T||1), prof=process.env.PROF;
for (const [name,net] of Object.entries(networks)) { if(only&&!name.startsWith(only)) continue;
 const params=await t.evaluate(net.init(t.random.key(0))); const data=await t.evaluate(net.batches(t.random.key(1)));
 const leaves=t.treeLeaves(params);
 const ravel=p=>t.concat(t.treeLeaves(p).map(l=>t.reshape(l,[-1])));
 const unravel=v=>{let at=0;return t.treeMap(l=>{at+=l.size;return t.reshape(t.slice(v,[at-l.size,at]),l.shape)},params)};
 const adam=(p,s,gv)=>{const n=t.add(s.n,1);
  const m=t.add(t.mul(.9,s.m),gv), v=t.add(t.mul(.999,s.v),t.mul(gv,gv));
  const c1=t.sub(1,t.exp(t.mul(n,Math.log(.9)))),c2=t.sub(1,t.exp(t.mul(n,Math.log(.999))));
  const r=t.sqrt(t.div(c2,.001));
  return [t.sub(p,t.mul(t.mul(1e-4,t.div(r,c1)),t.div(m,t.add(t.sqrt(v),t.mul(1e-8,r))))),{n,m,v}]};
 const vg=t.valueAndGrad((v,b)=>net.loss(unravel(v),b));
 const train=t.jit((st,data)=>t.scan((st,b)=>{const [l,g]=vg(st.p,b);const [p,s]=adam(st.p,st.s,g);return [{p,s},l]},st,data),{threads:T,...(prof?{profile:prof}:{})});
 const p0=await t.evaluate(ravel(params));
 let t0=performance.now();
 let r=await train({p:p0,s:{n:t.scalar(0),m:t.zerosLike(p0),v:t.zerosLike(p0)}},data);
 const first=performance.now()-t0;
 let ts=[];const s0=performance.now();while(performance.now()-s0<1500||ts.length<5){t0=performance.now();r=await train(r[0],data);ts.push((performance.now()-t0)/net.steps)}
 ts.sort((a,b)=>a-b);
 const one=await t.evaluate(t.slice(data.x,0));
 const inf=t.jit(net.forward,{threads:T}); await inf(params,one);
 let is=[];for(let i=0;i<60;i++){t0=performance.now();await inf(params,one);is.push(performance.now()-t0)} is.sort((a,b)=>a-b);
 console.log(name.padEnd(22),"train",ts[ts.length>>1].toFixed(4),"inf",is[30].toFixed(4),"compile+first",first.toFixed(0),"loss",(await t.data(r[1])).at(-1).toFixed(4));
 if(prof) await train.release();
}
