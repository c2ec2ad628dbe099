use datagen_core::batch::*; use datagen_core::catalog::*; use datagen_core::plan::*; use std::sync::Arc; use std::collections::HashMap;
fn col<'a>(b:&'a datagen_core::column::Batch,n:&str)->&'a datagen_core::column::Column{ let r=b.relation(); let i=r.fields.iter().position(|f|f.name==n).unwrap(); &b.columns()[i] }
fn main(){
 let a:Vec<u64>=std::env::args().skip(1).map(|x|x.parse().unwrap()).collect();
 let (seed,n,days)=(a[0],a[1],a[2] as u32);
 let plan=Plan::try_new(seed,n,DEFAULT_AS_OF - (*a.get(3).unwrap_or(&0) as i64)*86_400_000,days).unwrap();
 let bank=Arc::new(Bank::new(plan));
 // accounts
 let mut kind=HashMap::new(); let mut limit=HashMap::new(); let (mut open,mut close)=([0i64;3],[0i64;3]); let mut bal=HashMap::new(); let mut owner=HashMap::new();
 for b in bank.batches(&ACCOUNTS,0..n,4096).unwrap(){
  let id:&[[u8;16]]=col(&b,"account_id").values.stored(); let k:&[u8]=col(&b,"account_type").values.stored(); let o:&[i64]=col(&b,"opening_balance").values.stored(); let c:&[i64]=col(&b,"balance").values.stored(); let l:&[i64]=col(&b,"overdraft_limit").values.stored(); let cu:&[[u8;16]]=col(&b,"customer_id").values.stored();
  for i in 0..id.len(){ kind.insert(id[i],k[i]); limit.insert(id[i],l[i]); open[k[i] as usize]+=o[i]; close[k[i] as usize]+=c[i]; bal.insert(id[i],o[i]); owner.insert(id[i],cu[i]);}
 }
 println!("balance ratio C {:.3} P {:.3} I {:.3}; opening mean C {:.0}",close[0] as f64/open[0].max(1) as f64,close[1] as f64/open[1].max(1) as f64,close[2] as f64/open[2].max(1) as f64, open[0] as f64/100./n as f64);
 let t0=std::time::Instant::now();
 let mut counts:HashMap<[u8;16],u32>=HashMap::new(); let mut months:HashMap<([u8;16],i64),u32>=HashMap::new(); let mut mix:HashMap<(u8,u8,u8,u8),(u64,i64)>=HashMap::new(); let mut pix=vec![]; let mut low=0; let mut desc:HashMap<(u8,u8,String),(u64,i64)>=HashMap::new();
 let mut e2e:HashMap<Vec<u8>,Vec<(u8,i64)>>=HashMap::new(); let mut total=0u64; let mut bad=0; let mut order=0; let mut last:HashMap<[u8;16],i64>=HashMap::new(); let mut inside=0u64; let mut npix=0u64;
 let batches:Vec<_>=bank.batches(&TRANSACTIONS,0..n,4096).unwrap().collect(); let dt=t0.elapsed();
 for b in &batches{
  let id:&[[u8;16]]=col(b,"account_id").values.stored(); let ty:&[u8]=col(b,"transaction_type").values.stored(); let di:&[u8]=col(b,"direction").values.stored(); let st:&[u8]=col(b,"status").values.stored(); let am:&[i64]=col(b,"amount").values.stored(); let ba:&[i64]=col(b,"balance_after").values.stored(); let t:&[i64]=col(b,"occurred_at").values.stored();
  let ee=match &col(b,"end_to_end_id").values{datagen_core::column::Values::Text(t)=>t,_=>panic!()}; let ds=match &col(b,"description").values{datagen_core::column::Values::Text(t)=>t,_=>panic!()}; let isp=match &col(b,"counterparty_ispb").values{datagen_core::column::Values::Text(t)=>t,_=>panic!()};
  for i in 0..id.len(){ total+=1; *counts.entry(id[i]).or_default()+=1; *months.entry((id[i],t[i]/(30*86_400_000))).or_default()+=1;
   let k=kind[&id[i]]; let e=mix.entry((k,ty[i],di[i],st[i])).or_default(); e.0+=1; e.1+=am[i];
   if ty[i]==0 && st[i]==0{pix.push(am[i]); npix+=1; if isp.get(i)==b"99860010"{inside+=1; e2e.entry(ee.get(i).to_vec()).or_default().push((di[i],am[i]));}}
   let p=bal.get_mut(&id[i]).unwrap(); let want=*p+ if st[i]!=0{0}else if di[i]==0{am[i]}else{-am[i]}; if want!=ba[i]||am[i]<=0{bad+=1; if bad<10{println!("bad {} {} am {} st {} {:?}",want,ba[i],am[i],st[i],std::str::from_utf8(ds.get(i)));}} *p=ba[i]; if ba[i]< -limit[&id[i]]{low+=1; if low<10{println!("low {} limit {} {:?}",ba[i],limit[&id[i]],std::str::from_utf8(ds.get(i)))}}
   let l=last.entry(id[i]).or_insert(i64::MIN); if t[i]<*l{order+=1} *l=t[i];
   let e=desc.entry((k,ty[i],String::from_utf8(ds.get(i).to_vec()).unwrap())).or_default(); e.0+=1; e.1+=am[i];
  }}
 println!("{} events, {:.2} per customer, {:.0} ns each; bad chains {bad} below limit {low} order {order}; rows() {}",total,total as f64/n as f64,dt.as_nanos() as f64/total as f64, bank.rows(&TRANSACTIONS,0..n).unwrap());
 let t1=std::time::Instant::now(); bank.rows(&TRANSACTIONS,0..n).unwrap(); println!("count takes {:.0} ns a customer",t1.elapsed().as_nanos() as f64/n as f64);
 for (k,b) in &bal{ let _=(k,b);} 
 let mut per:HashMap<u8,Vec<u32>>=HashMap::new(); for (id,k) in &kind{ per.entry(*k).or_default().push(*counts.get(id).unwrap_or(&0)); }
 for (k,v) in per.iter_mut(){ v.sort(); let m=v.iter().map(|x|*x as f64).sum::<f64>()/v.len() as f64; let z=v.iter().filter(|x|**x==0).count(); let mut d=v.clone(); d.dedup(); println!("kind {k}: n {} mean {m:.2} zero {:.3} distinct {} p10 {} p50 {} p90 {} p99 {} max {}",v.len(),z as f64/v.len() as f64,d.len(),v[v.len()/10],v[v.len()/2],v[v.len()*9/10],v[v.len()*99/100],v[v.len()-1]); }
 // var/mean over months
 let mut by:HashMap<[u8;16],Vec<u32>>=HashMap::new(); let nm=(days/30) as usize; for ((id,_),c) in &months{ if kind[id]==0 {by.entry(*id).or_default().push(*c);} }
 let mut rs=vec![]; for v in by.values(){ let mut v:Vec<f64>=v.iter().map(|x|*x as f64).collect(); while v.len()<nm{v.push(0.)} let m=v.iter().sum::<f64>()/v.len() as f64; let s=v.iter().map(|x|(x-m)*(x-m)).sum::<f64>()/(v.len() as f64-1.).max(1.); rs.push(s/m);} rs.sort_by(|a,b|a.total_cmp(b)); println!("var/mean of months: mean {:.2} median {:.2}",rs.iter().sum::<f64>()/rs.len() as f64, rs[rs.len()/2]);
 pix.sort(); println!("pix mean {:.2} median {:.2}; inside share {:.3}",pix.iter().sum::<i64>() as f64/pix.len() as f64/100.,pix[pix.len()/2] as f64/100., inside as f64/npix as f64);
 let mut ok=0;let mut single=0;let mut wrong=0; for v in e2e.values(){ if v.len()==2&&v[0].0!=v[1].0&&v[0].1==v[1].1{ok+=1}else if v.len()==1{single+=1}else{wrong+=1} } println!("inside pairs {ok} single {single} wrong {wrong}");
 let mut m:Vec<_>=mix.into_iter().collect(); m.sort(); for ((k,t,d,s),(c,a)) in m{ println!("  kind {k} {:<18}{}{} {:>8} {:.2}/cust mean {:.2}",TransactionType::SYMBOLS[t as usize],["C","D"][d as usize],["","R","X"][s as usize],c,c as f64/n as f64,a as f64/100./c as f64); }
 let mut d:Vec<_>=desc.into_iter().collect(); d.sort(); if a.len()>4 {for ((k,t,s),(c,a)) in d{ println!("  {k} {t} {s:<40} {c:>7} {:.2}",a as f64/100./c as f64);}}
}
